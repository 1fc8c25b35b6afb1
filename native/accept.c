/* libzmq 4.3.4 ends the whole process when a client connects over ipc while no descriptor is left: it takes ENFILE for
 * an error that passes and EMFILE for one that cannot be (ipc_listener.cpp). The linker leads its calls here (--wrap, see
 * build.rs), where the one becomes the other. The client stays in the queue of the listener and is taken when a descriptor
 * is free; until then the listener is readable all the time, hence the pause.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int __wrap_accept4(int listener, struct sockaddr *address, socklen_t *length, int flags)
{
    int accepted = (int) syscall(SYS_accept4, listener, address, length, flags);
    if (accepted < 0 && errno == EMFILE) {
        const struct timespec pause = {0, 10 * 1000 * 1000};
        nanosleep(&pause, NULL);
        errno = ENFILE;
    }
    return accepted;
}

int __wrap_accept(int listener, struct sockaddr *address, socklen_t *length)
{
    return __wrap_accept4(listener, address, length, 0);
}
