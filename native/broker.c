// pinscope-broker: opens files for an ordinary user and hands the descriptors over. What is visible in pagemap, kpage*,
// kcore and kallsyms follows the credentials of whoever opened them, so opening is all that it does. docs/BROKER.md says
// who may get what. Nothing is allocated after the start, and no path ever comes from the other side.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "broker.h"
#include "broker_start.h"

// Debian 12 has them in the kernel and not in every header.
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#ifndef DMA_BUF_MAGIC
#define DMA_BUF_MAGIC 0x444d4142
#endif

static struct broker broker;

static const struct file {
  uint32_t file;
  uint32_t level;
  const char *name;
} process_files[] = {
  {FILE_PAGEMAP, LEVEL_PAGES, "pagemap"},
  {FILE_MAPS, LEVEL_PAGES, "maps"},
  {FILE_SMAPS, LEVEL_PAGES, "smaps"},
  {FILE_FDINFO, LEVEL_PAGES, "fdinfo"},  // and the number
}, host_files[] = {
  {FILE_KPAGEFLAGS, LEVEL_PAGES, "/proc/kpageflags"},
  {FILE_KPAGECOUNT, LEVEL_PAGES, "/proc/kpagecount"},
  {FILE_KPAGECGROUP, LEVEL_PAGES, "/proc/kpagecgroup"},
  {FILE_PAGETYPEINFO, LEVEL_PAGES, "/proc/pagetypeinfo"},
  {FILE_BUFINFO, LEVEL_PAGES, "/sys/kernel/debug/dma_buf/bufinfo"},
  {FILE_KCORE, LEVEL_KERNEL_MEMORY, "/proc/kcore"},
  {FILE_KALLSYMS, LEVEL_KERNEL_MEMORY, "/proc/kallsyms"},
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct file *find(const struct file *files, size_t count, uint32_t file) {
  for (size_t i = 0; i < count; i++)
    if (files[i].file == file) return &files[i];
  return NULL;
}

static char *decimal(char *end, uint64_t value) {
  *--end = '\0';
  do *--end = (char)('0' + value % 10);
  while ((value /= 10) != 0);
  return end;
}

static int open_at(int dir, const char *path, int flags) {
  const int fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | flags);
  return fd < 0 ? -errno : fd;
}

// The start of a small file of procfs as text. 0 or -errno.
static int read_text(int dir, const char *name, char *text, size_t room) {
  const int fd = open_at(dir, name, 0);
  if (fd < 0) return fd;
  size_t filled = 0;
  ssize_t got = 0;
  while (filled < room - 1 && (got = read(fd, text + filled, room - 1 - filled)) > 0) filled += (size_t)got;
  const int error = got < 0 ? -errno : 0;
  text[filled] = '\0';
  close(fd);
  return error;
}

// Field 22 of /proc/PID/stat (fs/proc/array.c do_task_stat), counted from behind the name, which may hold anything.
static bool start_time_is(int dir, uint64_t expected) {
  char text[1024], digits[24];
  if (read_text(dir, "stat", text, sizeof text) != 0) return false;
  char *at = strrchr(text, ')');
  for (int field = 2; at != NULL && field < 22; field++) at = strchr(at + 1, ' ');
  const char *wanted = decimal(digits + sizeof digits, expected);
  return at != NULL && strncmp(at + 1, wanted, strlen(wanted)) == 0 && at[1 + strlen(wanted)] == ' ';
}

// The directory of a process. The start time is read through it, so it is that process's whatever its pid becomes.
static int open_process(const struct broker_request *request) {
  if (request->pid <= 0 || request->start_time == 0) return -EINVAL;
  if (broker.level == LEVEL_PAGES &&
      (request->pid != broker.pid || request->start_time != broker.start_time)) return -EPERM;
  char digits[24];
  const int dir = open_at(broker.proc, decimal(digits + sizeof digits, (uint64_t)request->pid), O_DIRECTORY);
  if (dir < 0) return dir == -ENOENT ? -ESRCH : dir;
  if (start_time_is(dir, request->start_time)) return dir;
  close(dir);
  return -ESRCH;
}

static void send_packet(void *data, size_t bytes, int fd) {
  union {
    struct cmsghdr align;
    char room[CMSG_SPACE(sizeof(int))];
  } control = {0};
  struct iovec part = {data, bytes};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (fd >= 0) {
    message.msg_control = control.room;
    message.msg_controllen = sizeof control.room;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  // Whoever is gone is noticed at the next receive.
  while (sendmsg(0, &message, MSG_NOSIGNAL) < 0 && errno == EINTR) continue;
}

// `result` is a descriptor, which is closed here, or -errno.
static void reply_fd(uint32_t op, int result) {
  struct broker_reply reply = {.op = op, .error = result < 0 ? -result : 0, .count = result < 0 ? 0 : 1, .last = 1};
  send_packet(&reply, sizeof reply, result);
  if (result >= 0) close(result);
}

static int open_file(const struct broker_request *request) {
  const struct file *file = find(process_files, COUNT(process_files), request->file);
  if (file != NULL) {
    if (request->file != FILE_FDINFO && request->arg != 0) return -EINVAL;
    if (request->arg > INT_MAX) return -EINVAL;
    const int dir = open_process(request);
    if (dir < 0) return dir;
    char name[40] = "fdinfo/", digits[24];
    if (request->file == FILE_FDINFO) strcat(name, decimal(digits + sizeof digits, request->arg));
    const int fd = open_at(dir, request->file == FILE_FDINFO ? name : file->name, O_NONBLOCK);
    close(dir);
    return fd;
  }
  file = find(host_files, COUNT(host_files), request->file);
  if (file == NULL || request->pid != 0 || request->start_time != 0 || request->arg != 0) return -EINVAL;
  if (file->level > broker.level) return -EPERM;
  return open_at(AT_FDCWD, file->name, O_NONBLOCK);
}

static bool is_listed(const char *link) {
  static const char *const prefixes[] = {"/dmabuf:", "/memfd:", "/dev/udmabuf", "/dev/vfio/", "/dev/iommu", "anon_inode:"};
  for (size_t i = 0; i < COUNT(prefixes); i++)
    if (strncmp(link, prefixes[i], strlen(prefixes[i])) == 0) return true;
  return false;
}

// One row of the list. False when the link is of no kind that is listed. Looks at the file without opening it, and without
// asking a server for it: a process may call a file of a file system of its own /memfd:x.
static bool look(int dir, const char *name, struct broker_row *row) {
  char link[PATH_MAX + 1];
  uint64_t fd;
  if (!broker_number(name, INT_MAX, &fd)) return false;
  const ssize_t length = readlinkat(dir, name, link, PATH_MAX);
  if (length < 0) return false;
  link[length] = '\0';
  if (!is_listed(link)) return false;
  struct statx stat;
  memset(row, 0, sizeof *row);
  row->fd = (int32_t)fd;
  row->link_bytes = (uint32_t)length;
  memcpy(row->link, link, (size_t)length < sizeof row->link ? (size_t)length : sizeof row->link);
  if (statx(dir, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &stat) != 0) {
    row->error = errno;
    return true;
  }
  row->dev = makedev(stat.stx_dev_major, stat.stx_dev_minor);
  row->ino = stat.stx_ino;
  row->size = stat.stx_size;
  row->ctime_ns = stat.stx_ctime.tv_sec * INT64_C(1000000000) + stat.stx_ctime.tv_nsec;
  row->block_bytes = stat.stx_blksize;
  row->mode = stat.stx_mode;
  return true;
}

static int list_fds(const struct broker_request *request) {
  static struct {
    struct broker_reply reply;
    struct broker_row rows[BROKER_ROWS];
  } packet;
  static _Alignas(struct dirent64) char entries[16384];
  if (request->file != 0 || request->arg != 0) return -EINVAL;
  const int dir = open_process(request);
  if (dir < 0) return dir;
  const int fds = open_at(dir, "fd", O_DIRECTORY);
  close(dir);
  if (fds < 0) return fds;
  packet.reply = (struct broker_reply){.op = OP_LIST_FDS};
  ssize_t got;
  while ((got = getdents64(fds, entries, sizeof entries)) > 0) {
    for (ssize_t at = 0; at < got;) {
      const struct dirent64 *entry = (const struct dirent64 *)(entries + at);
      at += entry->d_reclen;
      if (!look(fds, entry->d_name, &packet.rows[packet.reply.count])) continue;
      if (++packet.reply.count < BROKER_ROWS) continue;
      send_packet(&packet, sizeof packet, -1);
      packet.reply.count = 0;
    }
  }
  packet.reply.error = got < 0 ? errno : 0;
  packet.reply.last = 1;
  send_packet(&packet, sizeof packet.reply + packet.reply.count * sizeof packet.rows[0], -1);
  close(fds);
  return 0;
}

// Real, effective, saved and file system user are the one that asks.
static bool belongs_to_asker(int dir) {
  static char text[8192];
  char digits[24];
  if (read_text(dir, "status", text, sizeof text) != 0) return false;
  // The first line is the name, with newlines escaped.
  const char *at = strstr(text, "\nUid:");
  if (at == NULL) return false;
  at += strlen("\nUid:");
  const char *wanted = decimal(digits + sizeof digits, broker.uid);
  for (int i = 0; i < 4; i++) {
    if (*at++ != '\t' || strncmp(at, wanted, strlen(wanted)) != 0) return false;
    at += strlen(wanted);
  }
  return *at == '\n';
}

// Told by the file itself: a link's text can be imitated.
static bool may_be_handed(int fd) {
  struct statfs fs;
  struct statx stat;
  if (fstatfs(fd, &fs) != 0) return false;
  if ((uint64_t)fs.f_type == DMA_BUF_MAGIC) return true;
  if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &stat) != 0) return false;
  for (int i = 0; i < broker.memfds; i++)
    if (makedev(stat.stx_dev_major, stat.stx_dev_minor) == broker.memfd_dev[i]) return fcntl(fd, F_GET_SEALS) >= 0;
  return false;
}

static int get_fd(const struct broker_request *request) {
  if (request->file != 0 || request->arg > INT_MAX) return -EINVAL;
  // The process is looked at after its pidfd was made: a pidfd of one that came later cannot pass.
  const int pidfd = request->pid > 0 ? (int)syscall(SYS_pidfd_open, request->pid, 0) : -1;
  const int pidfd_error = request->pid > 0 ? -errno : -EINVAL;
  const int dir = open_process(request);
  int fd = dir < 0 ? dir : pidfd < 0 ? pidfd_error : -EPERM;
  // Such a descriptor may write, so at level pages only what the asker could have written anyway; asked before and after.
  if (dir >= 0 && pidfd >= 0 && (broker.level == LEVEL_KERNEL_MEMORY || belongs_to_asker(dir))) {
    fd = (int)syscall(SYS_pidfd_getfd, pidfd, (int)request->arg, 0);
    if (fd < 0) {
      fd = -errno;
    } else if (!may_be_handed(fd) || !(broker.level == LEVEL_KERNEL_MEMORY || belongs_to_asker(dir))) {
      close(fd);
      fd = -EPERM;
    }
  }
  if (pidfd >= 0) close(pidfd);
  if (dir >= 0) close(dir);
  return fd;
}

static void answer(const void *data, size_t bytes) {
  struct broker_request request = {0};
  int error = -EINVAL;
  if (bytes != sizeof request) {
    error = -EMSGSIZE;
  } else {
    memcpy(&request, data, sizeof request);
    if (request.reserved == 0) {
      switch (request.op) {
        case OP_HELLO: {
          struct {
            struct broker_reply reply;
            struct broker_hello hello;
          } packet = {
            .reply = {.op = OP_HELLO, .last = 1},
            .hello = {BROKER_PROTOCOL, broker.level, broker.pid, broker.uid, broker.start_time},
          };
          if (request.file != 0 || request.pid != 0 || request.arg != 0 || request.start_time != 0) break;
          packet.hello.broker_pid = getpid();
          send_packet(&packet, sizeof packet, -1);
          return;
        }
        case OP_OPEN:
          reply_fd(request.op, open_file(&request));
          return;
        case OP_LIST_FDS:
          error = list_fds(&request);
          if (error == 0) return;
          break;
        case OP_GET_FD:
          reply_fd(request.op, get_fd(&request));
          return;
      }
    }
  }
  reply_fd(request.op, error);
}

// One request. False at the end: the other side is gone, or sent nothing. Descriptors that it sends are dropped by the kernel.
static bool serve_one(void) {
  unsigned char data[sizeof(struct broker_request) + 1];
  struct iovec part = {data, sizeof data};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  const ssize_t got = recvmsg(0, &message, 0);
  if (got < 0) return errno == EINTR;
  if (got == 0) return false;
  answer(data, (size_t)got);
  return true;
}

int main(int argc, char **argv) {
  broker_start(argc, argv, &broker);
  while (serve_one()) continue;
  _exit(EXIT_SUCCESS);
}
