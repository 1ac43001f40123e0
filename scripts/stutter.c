// Finds tests that race: stops single threads of the broker and of Node.js for a moment, at random, right after
// what others can see of them: a write, a read, a wake-up. A busy machine does that, too, but seldom.
//
//   make stutter                               # the clients' suite
//   make stutter TESTS="ttl.test.js" LONGEST=200
//
// A library for LD_PRELOAD (glibc, Linux). STUTTER_MS is how long a thread is stopped at most, STUTTER_IN the names
// of the programs whose threads are. Each runs for three times as long as it was stopped before it is stopped again.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static long longest; // in ns; 0: this program isn't one of them

static __thread unsigned long random_state;
static __thread long runs_until;

__attribute__((constructor)) static void begin(void) {
    const char *ms = getenv("STUTTER_MS");
    const char *programs = getenv("STUTTER_IN");
    if (strstr(programs ? programs : "broker node", program_invocation_short_name)) {
        longest = (ms ? atol(ms) : 60) * 1000000;
    }
}

static long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000L + time.tv_nsec;
}

// xorshift64
static unsigned long below(unsigned long bound) {
    if (random_state == 0) random_state = (unsigned long)now() ^ ((unsigned long)gettid() << 32);
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % (bound + 1);
}

static void stutter(void) {
    if (longest == 0 || now() < runs_until || below(2) != 0) return;
    int error = errno; // the caller's
    long length = below(below(3) == 0 ? longest : longest / 8);
    struct timespec rest = {length / 1000000000L, length % 1000000000L};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, &rest) == EINTR) {
    }
    runs_until = now() + 3 * length + below(longest / 4);
    errno = error;
}

#define FOLLOWED(result, name, parameters, arguments)                       \
    result name parameters {                                                \
        static result(*real) parameters;                                    \
        if (!real) real = (result(*) parameters)dlsym(RTLD_NEXT, #name);    \
        result value = real arguments;                                      \
        stutter();                                                          \
        return value;                                                       \
    }

FOLLOWED(ssize_t, read, (int fd, void *to, size_t size), (fd, to, size))
FOLLOWED(ssize_t, recv, (int fd, void *to, size_t size, int flags), (fd, to, size, flags))
FOLLOWED(ssize_t, write, (int fd, const void *from, size_t size), (fd, from, size))
FOLLOWED(ssize_t, writev, (int fd, const struct iovec *from, int count), (fd, from, count))
FOLLOWED(ssize_t, send, (int fd, const void *from, size_t size, int flags), (fd, from, size, flags))
FOLLOWED(ssize_t, sendmsg, (int fd, const struct msghdr *from, int flags), (fd, from, flags))
FOLLOWED(int, accept4, (int fd, struct sockaddr *peer, socklen_t *size, int flags), (fd, peer, size, flags))
FOLLOWED(int, shutdown, (int fd, int how), (fd, how))
FOLLOWED(int, epoll_wait, (int fd, struct epoll_event *to, int most, int ms), (fd, to, most, ms))
FOLLOWED(int, epoll_pwait, (int fd, struct epoll_event *to, int most, int ms, const sigset_t *mask),
         (fd, to, most, ms, mask))

// By this threads wait for and wake each other: Rust's locks and the runtime's workers.
long syscall(long number, ...) {
    static long (*real)(long, ...);
    if (!real) real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    long given[6];
    va_list list;
    va_start(list, number);
    for (int at = 0; at < 6; at += 1) given[at] = va_arg(list, long);
    va_end(list);
    long value = real(number, given[0], given[1], given[2], given[3], given[4], given[5]);
    if (number == SYS_futex) stutter();
    return value;
}
