//! The commands in flight on one connection: a place for each, in the order in which they were sent, which is that of their answers.
//!
//! Owns: which command an answer belongs to, and the answers nobody took yet. A command that nobody waits for any more keeps its place until its answer came.
//! One thread.

use std::{
    collections::VecDeque,
    mem::replace,
    task::{Context, Waker},
};

use super::reply::Answer;

/// Places, first to last.
#[derive(Debug, Default)]
pub struct Places {
    places: VecDeque<Place>,
    /// The number of the first of them.
    first: u64,
    /// The number of the command that the next answer belongs to.
    next: u64,
}

#[derive(Debug)]
enum Place {
    /// It has no answer yet.
    Asked(Option<Waker>),
    /// Its answer has come.
    Answered(Answer),
    /// Its answer was taken, or nobody wants it.
    Empty,
}

impl Places {
    /// Adds one behind all others; gives its number.
    pub fn add(&mut self) -> u64 {
        self.places.push_back(Place::Asked(None));
        self.first + self.places.len() as u64 - 1
    }

    /// How many have no answer yet.
    pub fn waiting(&self) -> usize {
        (self.first + self.places.len() as u64 - self.next) as usize
    }

    /// The next answer. Gives it back when no command waits for one.
    pub fn answer(&mut self, answer: Answer) -> Result<(), Answer> {
        let Some(place) = self.places.get_mut((self.next - self.first) as usize) else {
            return Err(answer);
        };
        self.next += 1;
        if let Place::Asked(waker) = place {
            let waker = waker.take();
            *place = Place::Answered(answer);
            waker.into_iter().for_each(Waker::wake);
        }
        self.drop_empty();
        Ok(())
    }

    /// Takes the answer of a command if it has come; otherwise it wakes the task when it does.
    pub fn take(&mut self, number: u64, context: &Context<'_>) -> Option<Answer> {
        let place = self.place(number)?;
        match replace(place, Place::Empty) {
            Place::Answered(answer) => {
                self.drop_empty();
                Some(answer)
            }
            Place::Asked(_) => {
                *place = Place::Asked(Some(context.waker().clone()));
                None
            }
            Place::Empty => None,
        }
    }

    /// Nobody waits for this one any more.
    pub fn leave(&mut self, number: u64) {
        if let Some(place) = self.place(number) {
            *place = Place::Empty;
            self.drop_empty();
        }
    }

    /// Wakes all who wait: there will be no answers.
    pub fn wake_all(&mut self) {
        for place in &mut self.places {
            if let Place::Asked(waker) = place {
                waker.take().into_iter().for_each(Waker::wake);
            }
        }
    }

    fn place(&mut self, number: u64) -> Option<&mut Place> {
        self.places.get_mut(number.checked_sub(self.first)? as usize)
    }

    /// Forgets what is through, as far as nothing before it is not.
    fn drop_empty(&mut self) {
        while self.first < self.next && matches!(self.places.front(), Some(Place::Empty)) {
            self.places.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each command gets its own answer, whoever else has given up waiting: otherwise every value after that would be another key's.
    #[test]
    fn answers_come_to_their_commands() {
        let context = Context::from_waker(Waker::noop());
        let mut places = Places::default();
        let numbers: Vec<u64> = (0..5).map(|_| places.add()).collect();
        places.leave(numbers[0]);
        places.leave(numbers[2]);
        for n in 0..4 {
            assert_eq!(places.answer(Answer::Integer(n)), Ok(()));
        }
        assert_eq!(places.waiting(), 1);
        assert_eq!(places.take(numbers[3], &context), Some(Answer::Integer(3)));
        assert_eq!(places.take(numbers[4], &context), None);
        let later = places.add();
        assert_eq!(places.answer(Answer::Integer(4)), Ok(()));
        assert_eq!(places.answer(Answer::Integer(5)), Ok(()));
        assert_eq!(places.take(later, &context), Some(Answer::Integer(5)));
        assert_eq!(places.take(numbers[1], &context), Some(Answer::Integer(1)));
        assert_eq!(places.take(numbers[4], &context), Some(Answer::Integer(4)));
        assert_eq!((places.waiting(), places.places.len()), (0, 0));
        assert!(places.answer(Answer::Nothing).is_err());
    }
}
