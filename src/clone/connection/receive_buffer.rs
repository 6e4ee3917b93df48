//! Reading a socket in few large pieces.
//!
//! A thread that waits in `read` is woken for every packet or two, and copies little each time. In a virtual machine to
//! wake it can be dear: a third of what receiving cost on one, while on another nothing was gained. So the kernel is told
//! how much is worth waking for (`SO_RCVLOWAT`, socket(7)), and is asked by `poll` whether it has that much: `read` itself
//! would copy what is there and then wait for as much again, which may never come. What the bytes mean is read elsewhere.

use std::ffi::c_int;
use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};

use crate::protocol::data::READ_AHEAD;

/// Reads of no more than this are answered with whatever is there: they may ask for more than will come.
const SMALL: usize = READ_AHEAD;

/// What is gathered for one read, in bytes. Of twice that a read is no cheaper.
const ENOUGH: usize = 256 << 10;

/// How long it may take until enough has come. Then what is there is taken: a slow link brings less, and kernels before
/// 4.18 don't make room for what they are told to wait for (tcp_set_rcvlowat).
const PATIENCE: Duration = Duration::from_millis(10);

/// A socket whose larger reads wait for more than the first byte. Whoever reads more than [`SMALL`] bytes at once says so
/// that they are to come; where they don't, [`PATIENCE`] is lost and nothing else.
///
/// The socket's own read timeout is for each read, beside that.
pub struct GatheringStream {
    stream: TcpStream,
    patience: Duration,
    /// What the kernel was told, in bytes.
    low_water_mark: usize,
}

impl GatheringStream {
    pub fn new(stream: TcpStream) -> GatheringStream {
        GatheringStream { stream, patience: PATIENCE, low_water_mark: 1 }
    }

    /// Waits until what the kernel was told has come, or the end, or the time is up, and takes what is there: `Some(0)` at
    /// the end, `None` where nothing is.
    fn gather(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let patience = Timespec::try_from(self.patience).map_err(io::Error::other)?;
        poll(&mut [PollFd::new(&self.stream, PollFlags::IN)], Some(&patience))?;
        match recv(&self.stream, buffer, RecvFlags::DONTWAIT) {
            Ok((count, _)) => Ok(Some(count)),
            Err(error) if io::Error::from(error).kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn wake_for(&mut self, bytes: usize) -> io::Result<()> {
        if self.low_water_mark != bytes {
            set_low_water_mark(&self.stream, bytes)?;
            self.low_water_mark = bytes;
        }
        Ok(())
    }
}

impl Read for GatheringStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // A sandbox may forbid the option; then there is nothing to gather, and all is read as it comes.
        if buffer.len() > SMALL
            && self.wake_for(buffer.len().min(ENOUGH)).is_ok()
            && let Some(count) = self.gather(buffer)?
        {
            return Ok(count);
        }
        self.wake_for(1)?;
        self.stream.read(buffer)
    }
}

#[allow(unsafe_code, reason = "an option that no library wraps")]
fn set_low_water_mark(stream: &TcpStream, bytes: usize) -> io::Result<()> {
    let value = c_int::try_from(bytes).map_err(io::Error::other)?;
    // SAFETY: the option's value is one int, of which the kernel reads as many bytes as it is told.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::ffi::c_ulong;
    use std::io::Write;
    use std::net::TcpListener;
    use std::thread;
    use std::time::Instant;

    use rustix::io::ioctl_fionread;

    use super::*;
    use crate::protocol::data::{DataReader, DataWriter};
    use crate::protocol::frame::WireError;

    const LONG: Duration = Duration::from_secs(20);
    const MOMENT: Duration = Duration::from_millis(1);

    /// A peer, and the stream that is read.
    fn connected(patience: Duration) -> (TcpStream, GatheringStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        peer.set_nodelay(true).unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        (peer, GatheringStream { patience, ..GatheringStream::new(stream) })
    }

    /// What is read without a timeout's help.
    fn promptly<T>(read: impl FnOnce() -> io::Result<T>) -> T {
        let begun = Instant::now();
        let result = read().unwrap();
        assert!(begun.elapsed() < LONG, "it took as long as the timeout");
        result
    }

    #[test]
    fn a_large_read_waits_for_all_of_it() {
        let (mut peer, mut stream) = connected(LONG);
        let writing = thread::spawn(move || {
            for piece in 0..50u8 {
                peer.write_all(&[piece; 1000]).unwrap();
                thread::sleep(MOMENT);
            }
            peer
        });
        let mut buffer = [0; 50_000];
        assert_eq!(promptly(|| stream.read(&mut buffer)), 50_000);
        assert!(buffer.chunks(1000).enumerate().all(|(number, piece)| piece == [number as u8; 1000]));
        writing.join().unwrap();
    }

    #[test]
    fn no_read_waits_for_more_than_is_worth_waking_for() {
        let (mut peer, mut stream) = connected(LONG);
        // Makes room for so much in the kernel, too.
        stream.wake_for(ENOUGH).unwrap();
        peer.write_all(&[7; ENOUGH]).unwrap();
        let begun = Instant::now();
        while ioctl_fionread(&stream.stream).unwrap() < ENOUGH as u64 {
            assert!(begun.elapsed() < LONG, "the kernel doesn't take so much");
            thread::sleep(MOMENT);
        }
        assert_eq!(promptly(|| stream.read(&mut vec![0; 4 * ENOUGH])), ENOUGH);
    }

    #[test]
    fn what_is_there_is_taken_when_the_time_is_up() {
        let (mut peer, mut stream) = connected(MOMENT);
        peer.write_all(&[7; 10_000]).unwrap();
        assert_eq!(promptly(|| stream.read(&mut [0; 50_000])), 10_000);
    }

    #[test]
    fn nothing_when_the_time_is_up_is_waited_for_on() {
        let (mut peer, mut stream) = connected(MOMENT);
        let reading = thread::spawn(move || promptly(|| stream.read(&mut [0; 50_000])));
        thread::sleep(20 * MOMENT);
        peer.write_all(&[7; 10]).unwrap();
        assert_eq!(reading.join().unwrap(), 10);
    }

    #[test]
    fn a_small_read_behind_a_large_one_takes_one_byte() {
        let (mut peer, mut stream) = connected(LONG);
        peer.write_all(&[7; 50_001]).unwrap();
        assert_eq!(promptly(|| stream.read(&mut [0; 50_000])), 50_000);
        assert_eq!(promptly(|| stream.read(&mut [0; SMALL])), 1);
    }

    #[test]
    fn no_frame_is_waited_for_in_vain() {
        let (peer, stream) = connected(LONG);
        let (large, small, packed) = (vec![1; 2 * ENOUGH], vec![2; 2 * SMALL], vec![3; ENOUGH]);
        let content = [large.as_slice(), &small, &packed].concat();
        let writing = thread::spawn(move || -> Result<TcpStream, WireError> {
            let mut writer = DataWriter::new(&peer);
            writer.heartbeat()?;
            for frame in [large, small] {
                writer.gather(&frame, false)?;
                writer.flush()?;
                writer.heartbeat()?;
            }
            writer.set_packing(true)?;
            writer.gather(&packed, false)?;
            writer.end(None)?;
            Ok(peer)
        });
        let mut reader = DataReader::new(stream).allow_packed().unwrap();
        let (mut read, mut buffer) = (Vec::new(), vec![0; 4 * ENOUGH]);
        while read.len() < content.len() {
            let count = promptly(|| reader.read(&mut buffer));
            read.extend_from_slice(&buffer[..count]);
        }
        promptly(|| reader.finish().map_err(io::Error::other));
        assert!(read == content);
        writing.join().unwrap().unwrap();
    }

    #[test]
    fn the_end_is_not_waited_for() {
        let (mut peer, mut stream) = connected(LONG);
        peer.write_all(&[7; 10_000]).unwrap();
        drop(peer);
        assert_eq!(promptly(|| stream.read(&mut [0; 50_000])), 10_000);
        assert_eq!(promptly(|| stream.read(&mut [0; 50_000])), 0);
    }

    #[test]
    fn a_silent_peer_takes_the_sockets_own_timeout() {
        let (_peer, mut stream) = connected(MOMENT);
        stream.stream.set_read_timeout(Some(50 * MOMENT)).unwrap();
        let begun = Instant::now();
        let error = stream.read(&mut [0; 50_000]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(begun.elapsed() >= 50 * MOMENT);
    }

    #[test]
    fn a_socket_that_holds_less_is_read_all_the_same() {
        let (mut peer, mut stream) = connected(LONG);
        rustix::net::sockopt::set_socket_recv_buffer_size(&stream.stream, 32 << 10).unwrap();
        let writing = thread::spawn(move || peer.write_all(&[7; 2 * ENOUGH]));
        promptly(|| stream.read_exact(&mut vec![0; 2 * ENOUGH]));
        writing.join().unwrap().unwrap();
    }

    #[test]
    fn where_the_option_is_forbidden_all_is_read_as_it_comes() {
        let (mut peer, mut stream) = connected(LONG);
        let reading = thread::spawn(move || {
            forbid_low_water_marks();
            let forbidden = set_low_water_mark(&stream.stream, 1).unwrap_err();
            assert_eq!(forbidden.kind(), ErrorKind::PermissionDenied);
            promptly(|| stream.read(&mut [0; 50_000]))
        });
        peer.write_all(&[7; 10]).unwrap();
        assert_eq!(reading.join().unwrap(), 10);
    }

    /// To this thread, as a container's seccomp profile may. (seccomp(2))
    #[allow(unsafe_code, reason = "no library is worth it for one test")]
    fn forbid_low_water_marks() {
        const NUMBER: u32 = std::mem::offset_of!(libc::seccomp_data, nr) as u32;
        const OPTION: u32 = std::mem::offset_of!(libc::seccomp_data, args) as u32 + 2 * size_of::<u64>() as u32;
        // Half of an argument is looked at: the lower one.
        const LOWER: u32 = if cfg!(target_endian = "big") { 4 } else { 0 };
        let load =
            |at| libc::sock_filter { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, jt: 0, jf: 0, k: at };
        let skip_unless = |value, jf| libc::sock_filter {
            code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
            jt: 0,
            jf,
            k: value,
        };
        let answer = |k| libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k };
        let mut filter = [
            load(NUMBER),
            skip_unless(libc::SYS_setsockopt as u32, 3),
            load(OPTION + LOWER),
            skip_unless(libc::SO_RCVLOWAT as u32, 1),
            answer(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
            answer(libc::SECCOMP_RET_ALLOW),
        ];
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: the filter outlives the calls, and the kernel has a copy of it then.
        unsafe {
            let (on, none, mode) = (1 as c_ulong, 0 as c_ulong, c_ulong::from(libc::SECCOMP_MODE_FILTER));
            assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, on, none, none, none), 0);
            assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program), 0);
        }
    }
}
