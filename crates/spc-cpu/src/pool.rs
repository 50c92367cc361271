//! A small pool of threads that run the parts of one job at a time.
#![allow(unsafe_code)]
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

type Task<'a> = &'a (dyn Fn(usize) + Sync);

/// The job in progress: `task` is called once for each part in `0..parts`, in any order.
#[derive(Clone, Copy)]
struct Job {
    task: Task<'static>,
    parts: usize,
    /// Distinguishes jobs, so that a worker does not take one twice.
    number: u64,
}

#[derive(Default)]
struct State {
    job: Option<Job>,
    /// Workers inside the current job.
    busy: usize,
    stop: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    start: Condvar,
    done: Condvar,
    next: AtomicUsize,
    /// `busy`, for callers that look without the lock.
    inside: AtomicUsize,
    /// Number of the newest job.
    newest: AtomicU64,
}

/// How often a worker looks for the next job before it sleeps: the steps of a program follow each other closely, and
/// waking a thread takes longer than many of them.
const SPINS: usize = 1000;

/// Threads that wait for jobs. Dropping the pool ends them.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// Serialises jobs of callers on several threads, and numbers them.
    turn: Mutex<u64>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, job: &Job) {
        loop {
            let part = self.next.fetch_add(1, Ordering::Relaxed);
            if part >= job.parts {
                return;
            }
            (job.task)(part);
        }
    }

    fn serve(&self) {
        let mut last = 0;
        let mut state = self.lock();
        loop {
            if state.stop {
                return;
            }
            match state.job {
                Some(job) if job.number != last => {
                    last = job.number;
                    state.busy += 1;
                    self.inside.store(state.busy, Ordering::Release);
                    drop(state);
                    let leave = Leave(self);
                    self.work(&job);
                    drop(leave);
                    for _ in 0..SPINS {
                        if self.newest.load(Ordering::Acquire) != last {
                            break;
                        }
                        std::hint::spin_loop();
                    }
                    state = self.lock();
                }
                _ => state = self.start.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// Says that a worker has left its job, even if the job panicked.
struct Leave<'a>(&'a Shared);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.busy -= 1;
        self.0.inside.store(state.busy, Ordering::Release);
        drop(state);
        self.0.done.notify_all();
    }
}

/// Closes the current job to workers and waits for those inside, even if the caller's own part panicked.
struct Close<'a>(&'a Shared);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.lock().job = None;
        // Nobody can enter now. Those inside are about to leave: sleeping would take longer than most waits.
        for _ in 0..SPINS {
            if self.0.inside.load(Ordering::Acquire) == 0 {
                break;
            }
            std::hint::spin_loop();
        }
        let mut state = self.0.lock();
        while state.busy > 0 {
            state = self.0.done.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Pool {
    /// A pool in which `threads` threads work, the calling one among them. With 0 or 1, or where the system gives no
    /// thread, jobs run on the calling thread.
    pub fn new(threads: usize) -> Pool {
        let shared = Arc::new(Shared::default());
        let spawn = |_| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name("spc".into()).spawn(move || shared.serve()).ok()
        };
        let workers = (1..threads).filter_map(spawn).collect();
        Pool { shared, workers, turn: Mutex::new(0) }
    }

    /// Number of threads that work on a job.
    pub fn threads(&self) -> usize {
        1 + self.workers.len()
    }

    /// Calls `task` once for each part in `0..parts`, and returns when all calls have returned.
    pub fn run(&self, parts: usize, task: Task<'_>) {
        if self.workers.is_empty() || parts <= 1 {
            return (0..parts).for_each(task);
        }
        let mut number = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        *number += 1;
        // SAFETY: only the lifetime changes. `Close` keeps this call from returning before every worker has left the job,
        // and no worker can enter it afterwards.
        let task = unsafe { std::mem::transmute::<Task<'_>, Task<'static>>(task) };
        let job = Job { task, parts, number: *number };
        let close = Close(&self.shared);
        self.shared.next.store(0, Ordering::Relaxed);
        self.shared.lock().job = Some(job);
        self.shared.newest.store(*number, Ordering::Release);
        self.shared.start.notify_all();
        self.shared.work(&job);
        drop(close);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.start.notify_all();
        for w in self.workers.drain(..) {
            // A worker that panicked has nothing more to do.
            let _ = w.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_runs_exactly_once() {
        for threads in [0, 1, 2, 5] {
            let pool = Pool::new(threads);
            for parts in [0usize, 1, 2, 3, 50] {
                for _ in 0..50 {
                    let counts: Vec<AtomicUsize> = (0..parts).map(|_| AtomicUsize::new(0)).collect();
                    pool.run(parts, &|i| {
                        counts[i].fetch_add(1, Ordering::Relaxed);
                    });
                    assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1));
                }
            }
        }
    }

    #[test]
    fn callers_on_several_threads_take_turns() {
        let pool = Pool::new(3);
        let sum = AtomicUsize::new(0);
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for _ in 0..100 {
                        pool.run(7, &|i| {
                            sum.fetch_add(i, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(sum.load(Ordering::Relaxed), 4 * 100 * 21);
    }

    #[test]
    fn a_panic_in_the_callers_part_leaves_a_usable_pool() {
        let pool = Pool::new(2);
        let caller = std::thread::current().id();
        let r = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pool.run(8, &|_| {
                if std::thread::current().id() == caller {
                    panic!("expected in this test");
                }
                std::thread::sleep(std::time::Duration::from_millis(2));
            });
        }));
        assert!(r.is_err());
        let count = AtomicUsize::new(0);
        pool.run(4, &|_| {
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(count.load(Ordering::Relaxed), 4);
    }
}
