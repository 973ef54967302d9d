//! Page requests that wait for an answer.
//!
//! An engine waits outside of all sections and without a lock. A request ends by the answer of the process, because its
//! PASID is taken out of the device's table (the answer is no), or because the device has to stop.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::{DeviceId, Pasid, lock};
use crate::memory::{Access, PageRequest};

/// How often a waiting device looks whether it must stop.
const LOOK: Duration = Duration::from_micros(500);

#[derive(Debug)]
struct Waiting {
    number: u64,
    /// Whose page it is: the serial number of the domain.
    process: u64,
    request: PageRequest,
    answer: Option<bool>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    waiting: Vec<Waiting>,
}

impl Inner {
    /// Takes a request out, and tells its answer.
    fn remove(&mut self, number: u64) -> Option<bool> {
        let at = self.waiting.iter().position(|w| w.number == number)?;
        self.waiting.remove(at).answer
    }

    fn is_answered(&self, number: u64) -> bool {
        self.waiting.iter().any(|w| w.number == number && w.answer.is_some())
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct PageRequestQueue {
    inner: Mutex<Inner>,
    answered: Condvar,
}

impl PageRequestQueue {
    /// Adds a request, and returns its number for [`wait`](Self::wait).
    pub(super) fn push(&self, process: u64, request: PageRequest) -> u64 {
        let mut inner = lock(&self.inner);
        let number = inner.next;
        inner.next += 1;
        inner.waiting.push(Waiting { number, process, request, answer: None });
        number
    }

    /// Waits for the answer to a request.
    pub(super) fn wait(&self, number: u64, stop: &dyn Fn() -> bool) -> bool {
        loop {
            let mut inner = lock(&self.inner);
            if !inner.is_answered(number) {
                inner = self.answered.wait_timeout(inner, LOOK).unwrap_or_else(PoisonError::into_inner).0;
            }
            if inner.is_answered(number) {
                return inner.remove(number).unwrap_or(false);
            }
            drop(inner);
            if stop() {
                return lock(&self.inner).remove(number).unwrap_or(false);
            }
        }
    }

    /// The requests of a process without an answer.
    pub(super) fn waiting(&self, process: u64) -> Vec<PageRequest> {
        let inner = lock(&self.inner);
        inner.waiting.iter().filter(|w| w.process == process && w.answer.is_none()).map(|w| w.request).collect()
    }

    /// Answers the requests for a page of a process, and returns how many there were.
    pub(super) fn answer(&self, process: u64, page: u64, answer: impl Fn(Access) -> bool) -> usize {
        self.answer_if(|w| w.process == process && w.request.addr == page, answer)
    }

    /// Refuses what a device has asked for with a PASID.
    pub(super) fn refuse(&self, device: DeviceId, pasid: Pasid) {
        let is_it = |w: &Waiting| w.request.source == device.bits() && w.request.pasid == pasid.get();
        self.answer_if(is_it, |_| false);
    }

    fn answer_if(&self, is_it: impl Fn(&Waiting) -> bool, answer: impl Fn(Access) -> bool) -> usize {
        let mut inner = lock(&self.inner);
        let mut count = 0;
        for waiting in inner.waiting.iter_mut().filter(|w| w.answer.is_none() && is_it(w)) {
            waiting.answer = Some(answer(waiting.request.access));
            count += 1;
        }
        drop(inner);
        self.answered.notify_all();
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId::new(0, 1, 0);

    fn request(pasid: u32, addr: u64) -> PageRequest {
        PageRequest { source: DEVICE.bits(), pasid, privileged: false, addr, access: Access::Write }
    }

    #[test]
    fn requests_are_answered_by_page_by_pasid_or_by_a_stop() {
        let queue = PageRequestQueue::default();
        let [one, two, three] = [(7, 0x1000), (7, 0x2000), (8, 0x1000)]
            .map(|(process, addr)| queue.push(process, request(process as u32, addr)));
        assert_eq!(queue.answer(7, 0x1000, |access| access == Access::Write), 1);
        assert!(queue.wait(one, &|| unreachable!("it is answered")));
        assert_eq!(queue.waiting(7), [request(7, 0x2000)]);
        queue.refuse(DEVICE, Pasid::new(7).unwrap());
        assert!(!queue.wait(two, &|| false));
        assert_eq!(queue.answer(8, 0x2000, |_| true), 0);
        assert!(!queue.wait(three, &|| true), "the device has to stop");
        assert_eq!(queue.waiting(8), []);
        assert!(lock(&queue.inner).waiting.is_empty());
    }

    #[test]
    fn an_answer_wakes_whoever_waits() {
        let queue = PageRequestQueue::default();
        let number = queue.push(7, request(7, 0x1000));
        std::thread::scope(|s| {
            let waiter = s.spawn(|| queue.wait(number, &|| false));
            assert_eq!(queue.answer(7, 0x1000, |_| true), 1);
            assert!(waiter.join().unwrap());
        });
    }
}
