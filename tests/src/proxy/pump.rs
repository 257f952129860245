//! Bytes of one connection, both ways, through the weather of their links.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Counts, Weather};
use crate::rng::Rng;

type Link = watch::Receiver<Weather>;

/// Bytes read in one go, and how many of such may be under way: what latency does not slow down.
const CHUNK: usize = 16 << 10;
const UNDER_WAY: usize = 64;

/// Waits until the link lets something through.
async fn passes(link: &mut Link, counts: &Counts) {
    if !link.borrow_and_update().open {
        counts.kept.fetch_add(1, Ordering::Relaxed);
        // The sender lives as long as the proxy, and so does this task.
        let _ = link.wait_for(|weather| weather.open).await;
    }
}

/// A connection on its way through.
pub(super) struct Connection<'a> {
    near: TcpStream,
    far: Option<TcpStream>,
    there: Link,
    home: Link,
    counts: &'a Counts,
}

impl<'a> Connection<'a> {
    /// One that was taken, and the links that its bytes use.
    pub(super) fn new(near: TcpStream, there: Link, home: Link, counts: &'a Counts) -> Self {
        Self { near, far: None, there, home, counts }
    }

    /// Dials on to `back`, and moves bytes until both sides have ended, one has broken, or `reset` comes.
    pub(super) async fn run(mut self, back: &str, reset: impl Future) {
        let ended = tokio::select! {
            ended = self.carry(back) => ended,
            _ = reset => {
                self.counts.reset.fetch_add(1, Ordering::Relaxed);
                Err(io::ErrorKind::ConnectionReset.into())
            }
        };
        if ended.is_err() {
            // Both are told that something broke.
            for stream in [Some(self.near), self.far].into_iter().flatten() {
                let _ = stream.set_zero_linger();
            }
        }
    }

    /// A connection begins when both ways are open, as a handshake would need, and a breach is told of no earlier.
    async fn carry(&mut self, back: &str) -> io::Result<()> {
        passes(&mut self.there, self.counts).await;
        passes(&mut self.home, self.counts).await;
        let far = self.far.insert(TcpStream::connect(back).await?);
        far.set_nodelay(true)?;
        self.near.set_nodelay(true)?;
        let ((from_near, to_near), (from_far, to_far)) = (self.near.split(), far.split());
        let there = pump(from_near, to_far, self.there.clone(), self.counts);
        let home = pump(from_far, to_near, self.home.clone(), self.counts);
        let moved = tokio::try_join!(there, home);
        if moved.is_err() {
            passes(&mut self.there, self.counts).await;
            passes(&mut self.home, self.counts).await;
        }
        moved.map(|_| ())
    }
}

async fn pump(mut near: ReadHalf<'_>, far: WriteHalf<'_>, link: Link, counts: &Counts) -> io::Result<()> {
    let (send, receive) = mpsc::channel(UNDER_WAY);
    let sees = link.clone();
    let read = async move {
        let mut buffer = vec![0; CHUNK];
        let mut rng = Rng::new(counts.moved());
        loop {
            let read = near.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            let Weather { latency, jitter, .. } = *sees.borrow();
            let shift = jitter.mul_f64(rng.below(2001) as f64 / 1000.0);
            let due = Instant::now() + (latency + shift).saturating_sub(jitter);
            if send.send((due, buffer[..read].to_vec())).await.is_err() {
                return Ok(());
            }
        }
    };
    tokio::try_join!(read, write(far, receive, link, counts)).map(|_| ())
}

async fn write(
    mut far: WriteHalf<'_>,
    mut receive: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut link: Link,
    counts: &Counts,
) -> io::Result<()> {
    while let Some((due, bytes)) = receive.recv().await {
        if due > Instant::now() {
            counts.delayed.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            sleep_until(due).await;
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            passes(&mut link, counts).await;
            let Weather { rate, singly, .. } = *link.borrow();
            let single = bytes.len() - rest.len() < singly;
            let step = if single { 1 } else { rest.len() };
            far.write_all(&rest[..step]).await?;
            counts.moved.fetch_add(step as u64, Ordering::Relaxed);
            counts.single.fetch_add(u64::from(single), Ordering::Relaxed);
            rest = &rest[step..];
            if let Some(rate) = rate {
                let held = Duration::from_secs_f64(step as f64 / rate as f64);
                sleep(held).await;
                counts.held_us.fetch_add(held.as_micros() as u64, Ordering::Relaxed);
            }
        }
    }
    passes(&mut link, counts).await;
    far.shutdown().await
}
