/* Preloaded into a node: while the file named by MERIDIAN_LIE_FILE exists, every sync says that it is done and is not.
 * The negative control of the tests of durability. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static int lies(void) {
    const char *file = getenv("MERIDIAN_LIE_FILE");
    return file != NULL && access(file, F_OK) == 0;
}

int fsync(int fd) {
    int (*honest)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return lies() ? 0 : honest(fd);
}

int fdatasync(int fd) {
    int (*honest)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return lies() ? 0 : honest(fd);
}

int sync_file_range(int fd, off64_t from, off64_t bytes, unsigned int flags) {
    int (*honest)(int, off64_t, off64_t, unsigned int) =
        (int (*)(int, off64_t, off64_t, unsigned int))dlsym(RTLD_NEXT, "sync_file_range");
    return lies() ? 0 : honest(fd, from, bytes, flags);
}

int msync(void *at, size_t bytes, int flags) {
    int (*honest)(void *, size_t, int) = (int (*)(void *, size_t, int))dlsym(RTLD_NEXT, "msync");
    return lies() ? 0 : honest(at, bytes, flags);
}
