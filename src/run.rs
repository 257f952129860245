//! Runs a process of any role from its settings to its exit code.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use holdfast_replica::file::RealFiles;
use holdfast_wire::seam::{Net, Seams, TcpNet};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cli::Flags;
use crate::compose::{self, Plan, Process};
use crate::config::key::Role;
use crate::config::{Config, LogConfig, peers};
use crate::lock::DataLock;
use crate::sockets::Sockets;
use crate::tls::{self, Port, Tls, TlsNet};
use crate::traces::{self, Exporter};
use crate::{AnyError, FAILED, MISUSED, Release, clock, complain, dev, logging, profile};

/// Threads that run requests, unless configured.
const THREADS_MAX: usize = 4;
/// Threads for the few calls that block outside of lanes.
const BLOCKING_MAX: usize = 16;
/// After everything has stopped, blocked threads are waited for this long.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// What sends spans away, and by what.
type Exporting = (Exporter, Arc<dyn Net>);

/// Runs until a signal or a fatal error.
pub fn run(release: Release, role: Role, nodes: usize, flags: Flags) -> ExitCode {
    let (config, exporter) = match configure(release, role, flags) {
        Ok(configured) => configured,
        Err(error) => return complain(MISUSED, &error),
    };
    if config.profiles
        && let Err(error) = profile::prepare()
    {
        return complain(MISUSED, &error);
    }
    let threads = config.threads.unwrap_or_else(|| {
        std::thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(2, THREADS_MAX)
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(BLOCKING_MAX)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return complain(MISUSED, &error),
    };
    let code = runtime.block_on(async {
        let stop = CancellationToken::new();
        let exporting = exporter.map(|(exporter, net)| tokio::spawn(exporter.run(net, stop.clone())));
        let code = live(config, nodes).await;
        stop.cancel();
        if let Some(exporting) = exporting {
            // Bounded by the exporter itself; a panic in it is in the log already.
            let _ = exporting.await;
        }
        code
    });
    runtime.shutdown_timeout(LEAVE_WITHIN);
    code
}

fn configure(release: Release, role: Role, flags: Flags) -> Result<(Config, Option<Exporting>), AnyError> {
    let settings = crate::settings(flags)?;
    let log = LogConfig::new(&settings)?;
    let mut config = Config { release, ..Config::new(role, &settings, &crate::read)? };
    // Values that are not UTF-8 cannot be ours.
    let variable = |name: &str| std::env::var(name).ok();
    let Some(traced) = traces::settings(&variable, &config.name, release.version)? else {
        logging::start(&log, None)?;
        return Ok((config, None));
    };
    config.sampling = traced.sampling;
    let sources = crate::sources();
    let net: Arc<dyn Net> = match &traced.authority {
        None => Arc::new(TcpNet),
        Some(ca) => {
            let dialer = tls::Dialer::new(&sources.clock, tls::authorities(&sources, ca)?, None);
            Arc::new(TlsNet { inner: Arc::new(TcpNet), dialer: Arc::new(dialer) })
        }
    };
    let (spans, exporter) = traces::exporter(traced, sources.clock);
    logging::start(&log, Some(spans))?;
    Ok((config, Some((exporter, net))))
}

/// The two signals that ask for an orderly end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn live(config: Config, nodes: usize) -> ExitCode {
    let began = Instant::now();
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return complain(MISUSED, &error),
    };
    let starting = async {
        let lock = config.role.has_replica().then(|| DataLock::take(&RealFiles, &config.data)).transpose()?;
        let plan = plan(config, nodes).await?;
        let (config, nodes) = (plan.config.clone(), plan.nodes.len());
        let process = Process::start(plan, Seams::real(), Arc::new(RealFiles)).await?;
        Ok::<_, AnyError>((process, config, nodes, lock))
    };
    // The lock is held until everything has stopped.
    let (process, config, nodes, _lock) = tokio::select! {
        started = starting => match started {
            Ok(started) => started,
            Err(error) => return complain(MISUSED, &error),
        },
        () = signals.next() => return ExitCode::SUCCESS,
    };
    tracing::info!(
        role = config.role.as_str(),
        name = config.name,
        version = config.release.version,
        admin = config.admin_listen,
        ops = config.ops_listen,
        "started"
    );
    let ready = async {
        process.ready().await;
        tracing::info!(after_ms = began.elapsed().as_millis() as u64, "ready");
        if config.role == Role::Dev {
            print!("{}", dev::greeting(&config, nodes, began.elapsed()));
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = signals.next() => {}
        reason = process.failed() => {
            // Nothing may be answered, written or handed over any more.
            complain(FAILED, &reason);
            std::process::exit(FAILED.into());
        }
        () = ready => {}
        () = process.watch_certificates() => {}
    }
    tracing::info!("stopping");
    tokio::select! {
        () = process.stop() => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        () = signals.next() => complain(FAILED, &"stopped at once, at the second signal"),
    }
}

/// Binds every listener, and loads the certificates for them.
async fn plan(mut config: Config, nodes: usize) -> Result<Plan, AnyError> {
    let seams = Seams::real();
    clock::check(&*seams.clock)?;
    let sources = tls::Sources { files: Arc::new(RealFiles), clock: seams.clock.clone() };
    let certificates = Arc::new(Tls::load(&config.tls, sources)?);
    let net: Arc<dyn Net> = match certificates.dialer() {
        Some(dialer) => Arc::new(TlsNet { inner: seams.net.clone(), dialer }),
        None => seams.net.clone(),
    };
    let sockets = Arc::new(Sockets::new(net));
    let plan = if config.role == Role::Dev {
        dev::plan(config, nodes, sockets, certificates, &RealFiles, &*seams.random).await?
    } else {
        if config.role.has_gateway() {
            config.s3_listen = sockets.bind(&config.s3_listen, "S3").await?;
        }
        config.admin_listen = sockets.bind(&config.admin_listen, "the admin API").await?;
        config.ops_listen = sockets.bind(&config.ops_listen, "metrics and health").await?;
        let mut nodes = Vec::new();
        if config.role.has_replica() {
            config.peer_listen = sockets.bind(&config.peer_listen, "peers").await?;
            nodes.push(compose::node_config(&config));
        }
        Plan { config, nodes, sockets, tls: certificates }
    };
    protect(&plan);
    Ok(plan)
}

/// Puts TLS on the listeners that are to have it, and says which others can be overheard.
fn protect(plan: &Plan) {
    let Plan { config, sockets, tls, .. } = plan;
    let mut listeners = vec![(Port::Admin, &config.admin_listen, "admin API"), (Port::Ops, &config.ops_listen, "ops")];
    if config.role.has_gateway() {
        listeners.push((Port::S3, &config.s3_listen, "S3"));
    }
    for (port, address, purpose) in listeners {
        match tls.server(port).filter(|_| config.tls.covers(port)) {
            Some(acceptor) => sockets.protect(address, acceptor),
            // Metrics and health say nothing that is secret.
            None if port == Port::Ops || peers::is_loopback(address) => {}
            None => tracing::warn!(purpose, address, "this listener is not encrypted (tls-cert, tls-key)"),
        }
    }
    match tls.peers() {
        Some(acceptor) => sockets.protect(&config.peer_listen, acceptor),
        None if config.peer_listen.is_empty() || peers::is_loopback(&config.peer_listen) => {}
        None => tracing::warn!(
            address = config.peer_listen,
            "what nodes say to each other is not encrypted (peer-cert, peer-key, peer-ca)"
        ),
    }
}
