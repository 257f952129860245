//! A network of which single addresses can be cut off, as by a pulled cable: what is under way is held back, nothing is
//! lost or reset. For testers.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::net::{Connection, Listener, Net};

/// Which addresses are cut off. Cheap to clone; clones are the same gate.
#[derive(Clone, Default)]
pub struct Gate(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    cut: BTreeSet<String>,
    waiting: Vec<Waker>,
}

impl Gate {
    /// Cuts off exactly these addresses.
    pub fn set(&self, addresses: impl IntoIterator<Item = String>) {
        let mut state = self.0.lock();
        state.cut = addresses.into_iter().collect();
        state.waiting.drain(..).for_each(Waker::wake);
    }

    /// The addresses that are cut off, in order.
    pub fn cut(&self) -> Vec<String> {
        self.0.lock().cut.iter().cloned().collect()
    }

    /// `inner` behind this gate: connections made through it stand still while their address is cut off.
    pub fn net(&self, inner: Arc<dyn Net>) -> Arc<dyn Net> {
        Arc::new(GatedNet { inner, gate: self.clone() })
    }

    fn pass(&self, address: &str, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if !state.cut.contains(address) {
            return Poll::Ready(());
        }
        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

struct GatedNet {
    inner: Arc<dyn Net>,
    gate: Gate,
}

impl Net for GatedNet {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Box::pin(async move {
            std::future::poll_fn(|cx| self.gate.pass(address, cx)).await;
            let inner = self.inner.connect(address).await?;
            Ok(Box::new(Gated { inner, gate: self.gate.clone(), address: address.to_owned() }) as Box<dyn Connection>)
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        self.inner.listen(address)
    }
}

struct Gated {
    inner: Box<dyn Connection>,
    gate: Gate,
    address: String,
}

macro_rules! when_open {
    ($self:ident, $cx:ident, $call:expr) => {
        match $self.gate.pass(&$self.address, $cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => $call(Pin::new(&mut $self.inner)),
        }
    };
}

impl AsyncRead for Gated {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        when_open!(self, cx, |inner: Pin<&mut Box<dyn Connection>>| inner.poll_read(cx, buf))
    }
}

impl AsyncWrite for Gated {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        when_open!(self, cx, |inner: Pin<&mut Box<dyn Connection>>| inner.poll_write(cx, buf))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        when_open!(self, cx, |inner: Pin<&mut Box<dyn Connection>>| inner.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        when_open!(self, cx, |inner: Pin<&mut Box<dyn Connection>>| inner.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    use super::*;
    use crate::seam::MemoryNet;

    #[tokio::test(start_paused = true)]
    async fn what_is_cut_off_stands_still_and_then_goes_on() {
        let (net, gate) = (MemoryNet::default(), Gate::default());
        let listener = net.host("b").listen("b:1").await.unwrap();
        let own = gate.net(net.host("a"));
        let mut near = own.connect("b:1").await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();

        gate.set(["b:1".to_owned()]);
        assert_eq!(gate.cut(), ["b:1"]);
        far.write_all(b"x").await.unwrap();
        let mut byte = [0; 1];
        assert!(timeout(Duration::from_secs(5), near.read_exact(&mut byte)).await.is_err());
        assert!(timeout(Duration::from_secs(5), near.write_all(b"y")).await.is_err());
        assert!(timeout(Duration::from_secs(5), own.connect("b:1")).await.is_err());

        let waiting = async { near.read_exact(&mut byte).await.map(drop) };
        let (read, ()) = tokio::join!(waiting, async { gate.set([]) });
        read.unwrap();
        assert_eq!(&byte, b"x");
    }
}
