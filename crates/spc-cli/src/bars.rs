//! Progress bars on stderr. They are hidden when stderr is not a terminal.
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use spc::driver::Progress;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// At most one bar at a time: that of the task last heard of.
pub struct Bars {
    shown: bool,
    bar: Mutex<Option<(String, ProgressBar)>>,
}

impl Bars {
    pub fn new(shown: bool) -> Bars {
        Bars { shown, bar: Mutex::new(None) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<(String, ProgressBar)>> {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the bar off the screen.
    pub fn clear(&self) {
        if let Some((_, bar)) = self.lock().take() {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Bars {
    fn step(&self, task: &str, done: u64, total: u64) {
        if !self.shown {
            return;
        }
        let mut slot = self.lock();
        if slot.as_ref().is_none_or(|(t, _)| t != task) {
            if let Some((_, old)) = slot.take() {
                old.finish_and_clear();
            }
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{msg:20} {bar:40} {pos}/{len}") {
                bar.set_style(style);
            }
            bar.set_message(task.to_string());
            *slot = Some((task.to_string(), bar));
        }
        if let Some((_, bar)) = slot.as_ref() {
            bar.set_length(total);
            bar.set_position(done);
        }
        if done >= total
            && let Some((_, bar)) = slot.take()
        {
            bar.finish_and_clear();
        }
    }
}
