#define _GNU_SOURCE
#include "broker_start.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "broker.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21U << 26)
#define MFD_HUGE_1GB (30U << 26)
#endif
// O_TMPFILE is this bit with O_DIRECTORY, which alone is harmless.
#define TMPFILE_BIT (O_TMPFILE & ~O_DIRECTORY)

#if defined(__x86_64__)
#define THIS_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCH AUDIT_ARCH_AARCH64
#else
#error "the system call filter knows x86-64 and aarch64"
#endif

static _Noreturn void refuse(int code, const char *sentence) {
  fprintf(stderr, "pinscope-broker: %s\n", sentence);
  exit(code);
}

static _Noreturn void not_confined(const char *call) {
  fprintf(stderr, "pinscope-broker: cannot give up rights: %s: %s\n", call, strerror(errno));
  exit(EXIT_NOT_CONFINED);
}

bool broker_number(const char *text, uint64_t max, uint64_t *value) {
  uint64_t sum = 0;
  if (*text == '\0') return false;
  for (; *text != '\0'; text++) {
    if (*text < '0' || *text > '9') return false;
    const uint64_t digit = (uint64_t)(*text - '0');
    if (digit > max || sum > (max - digit) / 10) return false;
    sum = sum * 10 + digit;
  }
  *value = sum;
  return true;
}

static void read_arguments(int argc, char **argv, struct broker *broker) {
  uint64_t pid;
  if (argc == 2 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "--protocol") == 0)) {
    printf("pinscope-broker, protocol %d\n", BROKER_PROTOCOL);
    exit(EXIT_SUCCESS);
  }
  if (argc == 2 && strcmp(argv[1], "kernel-memory") == 0) {
    broker->level = LEVEL_KERNEL_MEMORY;
  } else if (argc == 4 && strcmp(argv[1], "pages") == 0 && broker_number(argv[2], INT_MAX, &pid) && pid > 0 &&
             broker_number(argv[3], UINT64_MAX, &broker->start_time) && broker->start_time > 0) {
    broker->level = LEVEL_PAGES;
    broker->pid = (int32_t)pid;
  } else {
    refuse(EXIT_WRONG_USAGE, "usage: pinscope-broker pages PID STARTTIME | kernel-memory");
  }
}

static void read_asker(struct broker *broker) {
  const char *pkexec = getenv("PKEXEC_UID"), *sudo = getenv("SUDO_UID");
  uint64_t uid;
  // 2^32 - 1 is no user: it would mean "leave as it is" to setresuid.
  if (geteuid() != 0 || (pkexec == NULL) == (sudo == NULL) ||
      !broker_number(pkexec != NULL ? pkexec : sudo, UINT32_MAX - 1, &uid)) {
    refuse(EXIT_NOT_BY_PKEXEC, "Pinscope starts this program, by pkexec or sudo; it is of no use by itself");
  }
  broker->uid = (uid_t)uid;
  clearenv();
}

// Of the user who made it; the group comes from there too.
static gid_t check_socket(uid_t uid) {
  int domain = 0, type = 0;
  struct ucred peer = {0};
  socklen_t size = sizeof domain, type_size = sizeof type, peer_size = sizeof peer;
  if (getsockopt(0, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || domain != AF_UNIX ||
      getsockopt(0, SOL_SOCKET, SO_TYPE, &type, &type_size) != 0 || type != SOCK_SEQPACKET) {
    refuse(EXIT_NO_SOCKET, "standard input is not the socket that Pinscope makes");
  }
  if (getsockopt(0, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) != 0 || peer.uid != uid) {
    refuse(EXIT_NO_SOCKET, "the socket is not of the user who asked for the rights");
  }
  return peer.gid;
}

// memfds lie on mounts of the kernel's own that nothing else can make files on: one for tmpfs, one a huge page size.
static void find_memfds(struct broker *broker) {
  static const unsigned kinds[] = {0, MFD_HUGETLB, MFD_HUGETLB | MFD_HUGE_2MB, MFD_HUGETLB | MFD_HUGE_1GB};
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    struct stat stat;
    const int fd = memfd_create("pinscope-broker", MFD_CLOEXEC | kinds[i]);
    if (fd < 0) continue;
    if (fstat(fd, &stat) == 0) broker->memfd_dev[broker->memfds++] = stat.st_dev;
    close(fd);
  }
}

/*
 * What stays, and why. Not uid 0: with it every file of root would be writable again, by ownership alone. The broker runs
 * as the user who asked; files of mode 0400 need CAP_DAC_READ_SEARCH then. That user cannot trace it: it has capabilities
 * that they have not, and it is not dumpable.
 */
static uint64_t kept_capabilities(uint32_t level) {
  uint64_t kept = UINT64_C(1) << CAP_DAC_READ_SEARCH |  // pagemap and /proc/PID/fd of others, kpage*, pagetypeinfo, debugfs
                  UINT64_C(1) << CAP_SYS_PTRACE |       // everything of other users below /proc/PID, pidfd_getfd
                  UINT64_C(1) << CAP_SYS_ADMIN;         // PFNs in pagemap
  if (level == LEVEL_KERNEL_MEMORY) {
    kept |= UINT64_C(1) << CAP_SYS_RAWIO |  // kcore
            UINT64_C(1) << CAP_SYSLOG;      // addresses in kallsyms
  }
  return kept;
}

static void set_limit(__rlimit_resource_t resource, rlim_t limit) {
  const struct rlimit both = {limit, limit};
  if (setrlimit(resource, &both) != 0) not_confined("setrlimit");
}

static void give_up_rights(const struct broker *broker, gid_t gid) {
  const uint64_t kept = kept_capabilities(broker->level);
  umask(077);
  set_limit(RLIMIT_FSIZE, 0);
  set_limit(RLIMIT_CORE, 0);
  set_limit(RLIMIT_NOFILE, 64);
  for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++) {
    if (prctl(PR_CAPBSET_DROP, capability) != 0) not_confined("PR_CAPBSET_DROP");
  }
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) not_confined("PR_CAP_AMBIENT");
  if (prctl(PR_SET_KEEPCAPS, 1) != 0) not_confined("PR_SET_KEEPCAPS");
  if (setgroups(0, NULL) != 0) not_confined("setgroups");
  if (setresgid(gid, gid, gid) != 0) not_confined("setresgid");
  if (setresuid(broker->uid, broker->uid, broker->uid) != 0) not_confined("setresuid");
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {{0}};
  for (int half = 0; half < 2; half++) data[half].effective = data[half].permitted = (uint32_t)(kept >> (32 * half));
  if (syscall(SYS_capset, &header, data) != 0) not_confined("capset");
  if (prctl(PR_SET_KEEPCAPS, 0) != 0) not_confined("PR_SET_KEEPCAPS");
  if (prctl(PR_SET_DUMPABLE, 0) != 0) not_confined("PR_SET_DUMPABLE");
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) not_confined("PR_SET_NO_NEW_PRIVS");
}

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
// The low half of an argument; both architectures are little-endian.
#define ARG(n) offsetof(struct seccomp_data, args[n])
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, action)
#define ALLOW(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), RETURN(SECCOMP_RET_ALLOW)
// Only with this value in the low half of an argument: all of them are ints, of which the kernel takes no more.
#define ALLOW_IF(name, n, value)                                                                             \
  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 4), BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARG(n)),          \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1), RETURN(SECCOMP_RET_ALLOW), RETURN(SECCOMP_RET_KILL_PROCESS)
// Not one of these bits in it.
#define ALLOW_WITHOUT(name, n, bits)                                                                         \
  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 4), BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ARG(n)),          \
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 1, 0), RETURN(SECCOMP_RET_ALLOW), RETURN(SECCOMP_RET_KILL_PROCESS)

// Numbers of x32 have bit 30 set, and so are none of these.
static void install_filter(void) {
  struct sock_filter filter[] = {
    LOAD(arch),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCH, 1, 0),
    RETURN(SECCOMP_RET_KILL_PROCESS),
    LOAD(nr),
    ALLOW_IF(recvmsg, 0, 0),
    ALLOW_IF(sendmsg, 0, 0),
    ALLOW_WITHOUT(openat, 2, O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND | TMPFILE_BIT),
    ALLOW_IF(fcntl, 1, F_GET_SEALS),
    ALLOW(close),
    ALLOW(read),
    ALLOW(statx),
    ALLOW(fstatfs),
    ALLOW(readlinkat),
    ALLOW(getdents64),
    ALLOW(pidfd_open),
    ALLOW(pidfd_getfd),
    ALLOW(getpid),
    ALLOW(exit_group),
    RETURN(SECCOMP_RET_KILL_PROCESS),
  };
  const struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) not_confined("PR_SET_SECCOMP");
}

void broker_start(int argc, char **argv, struct broker *broker) {
  // A standard descriptor that is closed would become the next file that is opened.
  if (fcntl(0, F_GETFD) < 0 || fcntl(1, F_GETFD) < 0 || fcntl(2, F_GETFD) < 0) exit(EXIT_NO_SOCKET);
  read_arguments(argc, argv, broker);
  read_asker(broker);
  if (syscall(SYS_close_range, 3, ~0U, 0) != 0) not_confined("close_range");
  const gid_t gid = check_socket(broker->uid);
  find_memfds(broker);
  struct statfs fs;
  broker->proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  if (broker->proc < 0 || fstatfs(broker->proc, &fs) != 0 || fs.f_type != PROC_SUPER_MAGIC) not_confined("/proc");
  if (chdir("/") != 0) not_confined("chdir");
  // It ends when the socket does, also where Ctrl-C in its terminal is meant for the program that started it.
  const int ignored[] = {SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGPIPE};
  for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++) signal(ignored[i], SIG_IGN);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) not_confined("/dev/null");
  give_up_rights(broker, gid);
  // Afterwards nothing can be written.
  if (write(1, "ready\n", 6) != 6) not_confined("write");
  if (dup2(null, 1) < 0 || dup2(null, 2) < 0) not_confined("dup2");
  close(null);
  install_filter();
}
