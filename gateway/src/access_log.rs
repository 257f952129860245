//! Which requests are written to the log when they end.

/// The choice. A line has the request's id, method, path, operation, status, bytes and time; neither the query (it may
/// hold a signature) nor headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessLog {
    /// None (at level debug all of them still are).
    Off,
    /// Those answered with 500 and above.
    #[default]
    Failures,
    /// All.
    All,
}

impl AccessLog {
    /// Whether a request with this status is written.
    pub fn takes(self, status: http::StatusCode) -> bool {
        match self {
            Self::Off => false,
            Self::Failures => status.is_server_error(),
            Self::All => true,
        }
    }
}

impl std::str::FromStr for AccessLog {
    type Err = NotAnAccessLog;
    fn from_str(text: &str) -> Result<Self, NotAnAccessLog> {
        match text {
            "off" => Ok(Self::Off),
            "failures" => Ok(Self::Failures),
            "all" => Ok(Self::All),
            _ => Err(NotAnAccessLog),
        }
    }
}

/// Text that names no choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected off, failures or all")]
pub struct NotAnAccessLog;
