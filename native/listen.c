/* libzmq 4.3.4 listens on a socket that was made elsewhere only by an option (ZMQ_USE_FD) that its Rust binding does not
 * have. The linker leads its calls here (--wrap, see build.rs): where the gateway binds an address on which this process
 * listens already, it gets a copy of that socket. So a listener is older than the gateway and outlives it: clients who
 * connect while there is no gateway wait in its queue and are not refused.
 *
 * Only on the gateway's thread, where nobody but libzmq calls this function (src/gateway/zmq/thread.rs gives it its name):
 * everybody else is told that the address is taken, as ever.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is_thread_of_gateway(void)
{
    char name[17] = {0};
    return prctl(PR_GET_NAME, name) == 0 && strcmp(name, "symphony-zmq") == 0;
}

/* [::] takes clients of IPv4, too, unless it was told not to. */
static int is_open_to_all(int listener)
{
    int only_v6 = 1;
    socklen_t length = sizeof only_v6;
    return getsockopt(listener, IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, &length) == 0 && !only_v6;
}

static int listens_on(int descriptor, const struct sockaddr_in *wanted)
{
    int listens = 0, type = 0;
    socklen_t length = sizeof listens;
    if (getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) != 0 || !listens)
        return 0;
    length = sizeof type;
    if (getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &length) != 0 || type != SOCK_STREAM)
        return 0;
    struct sockaddr_storage bound;
    memset(&bound, 0, sizeof bound);
    length = sizeof bound;
    if (getsockname(descriptor, (struct sockaddr *) &bound, &length) != 0)
        return 0;
    if (bound.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *) &bound;
        return v4->sin_port == wanted->sin_port && v4->sin_addr.s_addr == wanted->sin_addr.s_addr;
    }
    if (bound.ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *) &bound;
        return v6->sin6_port == wanted->sin_port && wanted->sin_addr.s_addr == htonl(INADDR_ANY)
            && IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr) && is_open_to_all(descriptor);
    }
    return 0;
}

/* An own copy of the listener on this address; -1 when there is none. */
static int copy_of_listener(const struct sockaddr_in *wanted)
{
    int found = -1;
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL)
        return -1;
    for (struct dirent *entry; found < 0 && (entry = readdir(folder)) != NULL;) {
        char *end = NULL;
        const long number = strtol(entry->d_name, &end, 10);
        if (end == entry->d_name || *end != '\0' || !listens_on((int) number, wanted))
            continue;
        found = fcntl((int) number, F_DUPFD_CLOEXEC, 0);
        /* looked at again: meanwhile the number may have become another's */
        if (found >= 0 && !listens_on(found, wanted)) {
            close(found);
            found = -1;
        }
    }
    closedir(folder);
    return found;
}

int __wrap_bind(int descriptor, const struct sockaddr *address, socklen_t length)
{
    if (length >= sizeof(struct sockaddr_in) && address->sa_family == AF_INET && is_thread_of_gateway()) {
        const int listener = copy_of_listener((const struct sockaddr_in *) address);
        if (listener >= 0) {
            /* what libzmq set on its own socket before is none of the listener's business: nothing but SO_REUSEADDR */
            const int taken = dup3(listener, descriptor, O_CLOEXEC);
            const int fault = errno;
            close(listener);
            errno = fault;
            return taken < 0 ? -1 : 0;
        }
    }
    return (int) syscall(SYS_bind, descriptor, address, length);
}
