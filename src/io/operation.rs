//! [`Operation`]: one thing that the lane does to a blocking object. [`Buffer`]: the bytes of
//! operations.

use std::io::{self, ErrorKind, SeekFrom};

/// One operation on the object. Each variant holds the object's own method, chosen where the
/// object's trait is known, so that everything else works for any object.
pub(super) enum Operation<T> {
    Read {
        read: fn(&mut T, &mut [u8]) -> io::Result<usize>,
        limit: usize,
    },
    Write {
        write_all: fn(&mut T, &[u8]) -> io::Result<()>,
    },
    /// A write that goes on where an earlier try of it has stopped.
    WriteOn {
        write: fn(&mut T, &[u8]) -> io::Result<usize>,
    },
    Flush {
        flush: fn(&mut T) -> io::Result<()>,
    },
    Seek {
        seek: Seek<T>,
        to: SeekFrom,
        ahead: Ahead,
    },
}

type Seek<T> = fn(&mut T, SeekFrom) -> io::Result<u64>;

/// How far the position of the object is ahead of its reader's, in bytes: so many were read from
/// the object and not taken by the reader.
///
/// A relative seek starts from the reader's position. If a seek succeeds, those bytes are void. If
/// it fails, the reader still gets them.
pub(super) struct Ahead(pub(super) usize);

/// What became of the bytes that were read ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadAhead {
    Stays,
    Void,
}

impl<T> Operation<T> {
    /// Runs the operation. Returns the new position (of a seek, otherwise 0). The bytes that were
    /// read are in the buffer.
    pub(super) fn run(&self, object: &mut T, buffer: &mut Buffer) -> (io::Result<u64>, ReadAhead) {
        let result = match self {
            Self::Read { read, limit } => buffer.fill(*limit, |room| read(object, room)).map(|()| 0),
            Self::Write { write_all } => write_all(object, buffer.rest()).map(|()| 0),
            Self::WriteOn { write } => buffer.drain(|bytes| write(object, bytes)).map(|()| 0),
            Self::Flush { flush } => flush(object).map(|()| 0),
            Self::Seek { seek, to, ahead } => return ahead.seek(object, *seek, *to),
        };
        (result, ReadAhead::Stays)
    }
}

impl Ahead {
    fn seek<T>(&self, object: &mut T, seek: Seek<T>, to: SeekFrom) -> (io::Result<u64>, ReadAhead) {
        let Ok(ahead) = i64::try_from(self.0) else {
            return (Err(ErrorKind::InvalidInput.into()), ReadAhead::Stays);
        };
        let to = match to {
            SeekFrom::Current(offset) => match offset.checked_sub(ahead) {
                Some(offset) => SeekFrom::Current(offset),
                None => {
                    // The distance is too large for one step. The first step goes back over what
                    // was read ahead.
                    return match seek(object, SeekFrom::Current(-ahead)) {
                        Ok(_) => (seek(object, to), ReadAhead::Void),
                        Err(error) => (Err(error), ReadAhead::Stays),
                    };
                }
            },
            SeekFrom::Start(_) | SeekFrom::End(_) => to,
        };
        match seek(object, to) {
            Ok(position) => (Ok(position), ReadAhead::Void),
            Err(error) => (Err(error), ReadAhead::Stays),
        }
    }
}

/// Memory for bytes on their way, which is used again and again, and the range of it that holds
/// them.
///
/// It grows to what the longest operation needed, rounded up to a power of two. All of it is always
/// initialised, so that an object can read into it without clearing it each time.
#[derive(Default)]
pub(super) struct Buffer {
    memory: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// The bytes that are not taken yet.
    pub(super) fn rest(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    /// Marks so many bytes as taken, or all of them if there are fewer.
    pub(super) fn consume(&mut self, amount: usize) {
        self.start = self.start.saturating_add(amount).min(self.end);
    }

    pub(super) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Moves bytes into `room`: as many as there are and as fit. Returns how many.
    pub(super) fn move_to(&mut self, room: &mut [u8]) -> usize {
        let rest = self.rest();
        let amount = rest.len().min(room.len());
        room[..amount].copy_from_slice(&rest[..amount]);
        self.consume(amount);
        amount
    }

    /// Appends as much of `bytes` as fits, up to `limit` bytes in all. Returns how much that is.
    pub(super) fn append(&mut self, bytes: &[u8], limit: usize) -> usize {
        let amount = bytes.len().min(limit.saturating_sub(self.end));
        let end = self.end + amount;
        self.grow(end);
        self.memory[self.end..end].copy_from_slice(&bytes[..amount]);
        self.end = end;
        amount
    }

    /// Replaces the bytes by what `read` puts into a room of `limit` bytes.
    fn fill(&mut self, limit: usize, mut read: impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<()> {
        self.clear();
        self.grow(limit);
        let room = &mut self.memory[..limit];
        loop {
            match read(room) {
                Ok(amount) if amount > limit => {
                    return Err(io::Error::other(
                        "the object claims to have read more than there was room for",
                    ));
                }
                Ok(amount) => {
                    self.end = amount;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Hands the bytes to `write` until they are taken. After an error the rest stays.
    fn drain(&mut self, mut write: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        while !self.rest().is_empty() {
            match write(self.rest()) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(amount) => self.consume(amount),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn grow(&mut self, length: usize) {
        if length > self.memory.len() {
            let length = length.next_power_of_two();
            // `reserve_exact`, because the vector's own growth would go beyond the bound.
            self.memory.reserve_exact(length - self.memory.len());
            self.memory.resize(length, 0);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_grows_to_powers_of_two_and_takes_no_memory_beyond() {
        let mut buffer = Buffer::default();
        for (length, memory) in [(0, 0), (3, 4), (4, 4), (5, 8), (60, 64), (2, 64), (65, 128)] {
            buffer.clear();
            assert_eq!(buffer.append(&[0; 100][..length], 100), length);
            assert_eq!(
                (buffer.memory.len(), buffer.memory.capacity()),
                (memory, memory),
                "for {length} bytes"
            );
        }
    }
}
