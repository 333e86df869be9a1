/* Preloaded into a process, counts the calls that change files, and lets one of them fail.
 *
 * faults_arm(n, kind) starts to count; the n-th call from there on fails as `kind` says: with that
 * errno, or as the negative kinds below. faults_disarm() stops, and returns how many calls there were.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum { COUNT_ONLY = 0, SHORT = -1, KILLED = -2, INTERRUPTED = -3 };

static atomic_int armed, calls, wanted, fault, struck;

void faults_arm(int n, int kind) {
  calls = 0;
  struck = 0;
  wanted = n;
  fault = kind;
  armed = 1;
}

int faults_disarm(void) {
  armed = 0;
  return calls;
}

int faults_struck(void) { return struck; }

/* Whether this call is the one; those that end or interrupt the process do so here. */
static int strikes(void) {
  if (!armed || ++calls != wanted || fault == COUNT_ONLY) return 0;
  struck = 1;
  if (fault == KILLED) kill(getpid(), SIGKILL);
  if (fault == INTERRUPTED) kill(getpid(), SIGINT);
  return fault == SHORT || fault > 0;
}

static int fails(void) {
  if (!strikes() || fault == SHORT) return 0;
  errno = fault;
  return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* What is left of a write that is struck. */
static size_t shortened(size_t size, int struck_now) {
  return struck_now && fault == SHORT && size > 1 ? size / 2 : size;
}

#define WRITES(name, parameters, ...)              \
  ssize_t name parameters {                        \
    const int now = strikes();                     \
    if (now && fault > 0) {                        \
      errno = fault;                               \
      return -1;                                   \
    }                                              \
    size = shortened(size, now);                   \
    return REAL(name)(__VA_ARGS__);                \
  }

WRITES(write, (int file, const void* bytes, size_t size), file, bytes, size)
WRITES(pwrite, (int file, const void* bytes, size_t size, off_t at), file, bytes, size, at)
WRITES(pwrite64, (int file, const void* bytes, size_t size, off64_t at), file, bytes, size, at)
ssize_t sendfile(int out, int in, off_t* at, size_t size);
ssize_t sendfile64(int out, int in, off64_t* at, size_t size);
WRITES(sendfile, (int out, int in, off_t* at, size_t size), out, in, at, size)
WRITES(sendfile64, (int out, int in, off64_t* at, size_t size), out, in, at, size)

#define CALLS(name, parameters, ...) \
  int name parameters { return fails() ? -1 : REAL(name)(__VA_ARGS__); }

int rename(const char* from, const char* to);
int renameat2(int, const char*, int, const char*, unsigned);
CALLS(fsync, (int file), file)
CALLS(fdatasync, (int file), file)
CALLS(ftruncate, (int file, off_t size), file, size)
CALLS(ftruncate64, (int file, off64_t size), file, size)
CALLS(fchmod, (int file, mode_t mode), file, mode)
CALLS(chmod, (const char* path, mode_t mode), path, mode)
CALLS(mkdir, (const char* path, mode_t mode), path, mode)
CALLS(link, (const char* from, const char* to), from, to)
CALLS(rename, (const char* from, const char* to), from, to)
CALLS(renameat2, (int a, const char* from, int b, const char* to, unsigned flags), a, from, b, to,
      flags)

/* A file is closed even if that fails. */
int close(int file) {
  const int failed = fails();
  const int error = errno;
  const int result = REAL(close)(file);
  if (!failed) return result;
  errno = error;
  return -1;
}

#define OPENS(name)                                                \
  int name(const char* path, int flags, ...) {                     \
    mode_t mode = 0;                                               \
    if (flags & (O_CREAT | __O_TMPFILE)) {                         \
      va_list more;                                                \
      va_start(more, flags);                                       \
      mode = va_arg(more, mode_t);                                 \
      va_end(more);                                                \
      if (fails()) return -1;                                      \
    }                                                              \
    return ((int (*)(const char*, int, mode_t))dlsym(RTLD_NEXT, #name))(path, flags, mode); \
  }

OPENS(open)
OPENS(open64)
