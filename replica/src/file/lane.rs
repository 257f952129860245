//! Where blocking file work runs.

use std::sync::mpsc;

use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// Runs blocking work of one kind, in order: on a thread of its own, or inline. Cheap to clone; the thread ends when the
/// last clone is dropped.
#[derive(Clone)]
pub struct Lane(Option<mpsc::Sender<Job>>);

impl Lane {
    /// A lane with a thread of its own.
    pub fn threaded(name: &str) -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let run = move || queue.into_iter().for_each(|job| job());
        std::thread::Builder::new().name(name.to_owned()).spawn(run).expect("the system must provide threads");
        Self(Some(jobs))
    }

    /// A lane that runs its work at once, where it is asked for: for simulations, which have one thread.
    pub fn inline() -> Self {
        Self(None)
    }

    /// Runs `work` behind everything that was asked for before. Dropping the future does not stop the work.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let Some(jobs) = &self.0 else { return work() };
        let (done, result) = oneshot::channel();
        let job = Box::new(move || drop(done.send(work())));
        jobs.send(job).expect("the lane's thread lives as long as the lane");
        result.await.expect("work on a lane does not panic")
    }
}
