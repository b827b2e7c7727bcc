/* Preloaded into a program: while the file that an environment variable names exists, the program's calls of
   one kind hang, as they do on a disk that does not answer.

     STALL_SYNC   fdatasync
     STALL_READ   pread of anything */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>

static void stall(const char *variable)
{
    const char *path = getenv(variable);
    while (path && access(path, F_OK) == 0)
        usleep(20 * 1000);
}

int fdatasync(int fd)
{
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    stall("STALL_SYNC");
    return next(fd);
}

ssize_t pread64(int fd, void *to, size_t count, off64_t at)
{
    ssize_t (*next)(int, void *, size_t, off64_t) =
        (ssize_t (*)(int, void *, size_t, off64_t))dlsym(RTLD_NEXT, "pread64");
    stall("STALL_READ");
    return next(fd, to, count, at);
}
