//! How a client lists a bucket.

use http::{Method, StatusCode};

use super::Client;
use crate::client::raw::Call;
use crate::client::xml;
use crate::history::answer::code;
use crate::history::statuses::Asked;
use crate::history::{Op, Outcome, Page};

impl Client {
    /// Lists all under a prefix in pages of seven (the whole bucket: of a thousand); whether something was learnt.
    pub(crate) async fn list(&mut self, prefix: &str, delimiter: Option<&str>) -> bool {
        let page = if prefix.is_empty() { 1000 } else { 7 };
        let (mut keys, mut prefixes, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        let mut pages: Vec<Page> = Vec::new();
        let mut token: Option<String> = None;
        let start = self.shared.now();
        let outcome = loop {
            let mut call = Call::bucket(Method::GET, &self.shared.plan.bucket)
                .query("list-type", 2)
                .query("prefix", prefix)
                .query("max-keys", page);
            if let Some(delimiter) = delimiter {
                call = call.query("delimiter", delimiter);
            }
            if let Some(token) = &token {
                call = call.query("continuation-token", token);
            }
            let began = self.shared.now();
            let reply = match self.send(Asked::List, call).await {
                Ok(reply) if reply.status == StatusCode::OK => reply,
                Ok(reply) => break Outcome::Failed(format!("{} {}", reply.status, code(&reply))),
                Err(why) => break Outcome::Failed(why.to_string()),
            };
            let text = reply.text();
            let entries: Vec<(String, String)> = xml::elements(&text, "Contents")
                .iter()
                .filter_map(|one| {
                    let etag = xml::text(one, "ETag")?;
                    Some((xml::text(one, "Key")?, etag.replace("&quot;", "").replace('"', "")))
                })
                .collect();
            let before = keys.len() + prefixes.len();
            keys.extend(xml::elements(&text, "Contents").iter().filter_map(|one| xml::text(one, "Key")));
            for common in xml::elements(&text, "CommonPrefixes") {
                prefixes.extend(xml::text(common, "Prefix"));
            }
            let count = keys.len() + prefixes.len() - before;
            if count > page || xml::text(&text, "KeyCount") != Some(count.to_string()) {
                faults.push(format!("a page of {count}, KeyCount {:?}", xml::text(&text, "KeyCount")));
            }
            token = xml::text(&text, "NextContinuationToken");
            let more = xml::text(&text, "IsTruncated").as_deref() == Some("true");
            if more != token.is_some() || more && count == 0 {
                faults.push(format!("truncated: {more}, token {token:?}, {count} in the page"));
                token = None;
            }
            if delimiter.is_none() {
                let after = pages.last().and_then(|page| page.last.clone());
                let last = token.as_ref().and_then(|_| Some(entries.last()?.0.clone()));
                pages.push(Page { start: began, end: self.shared.now(), after, last, entries });
            }
            if token.is_none() {
                break Outcome::Listed { keys, prefixes, faults, pages };
            }
        };
        let learnt = matches!(outcome, Outcome::Listed { .. });
        let op = Op::List { delimiter: delimiter.map(str::to_owned) };
        self.record(prefix, op, start, outcome, None);
        learnt
    }
}
