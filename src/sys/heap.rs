//! Returns free memory to the kernel, which glibc keeps by default. A clone's buffers leave holes between
//! allocations of connections, and a sidecar that serves clones in a flood of connections grows to three times
//! its size.

/// Sets one heap for all threads, and has large buffers returned as soon as they are dropped. By default glibc
/// serves such buffers from the heap after the first is freed. Lasts for the life of this process. (mallopt(3),
/// `M_MMAP_THRESHOLD`)
#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "an allocator is told by a call of its library")]
pub fn keep_small() {
    const BUFFER: libc::c_int = 128 << 10;
    // SAFETY: both change numbers of the allocator, under its own lock.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, BUFFER);
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Returns whole free pages anywhere in the heap. (malloc_trim(3))
#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "an allocator is told by a call of its library")]
pub fn give_back() {
    // SAFETY: it frees nothing that is in use, and locks the heap meanwhile.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other allocators return memory by themselves.
#[cfg(not(target_env = "gnu"))]
pub fn keep_small() {}

#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}
