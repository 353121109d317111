// SPDX-License-Identifier: MIT
/*
 * Sends random and nearly right requests to the broker's own request handler, in this process, and looks at every
 * descriptor that comes back: it must be the file that the request named, allowed at that level for that process, and open
 * for reading alone. `broker-fuzz REQUESTS [SEED]`; the seed is printed. Runs best as root: more files open.
 */
#define main broker_main
#include "../../native/broker.c"
#include "../../native/broker_start.c"
#undef main

#include <sys/wait.h>
#include <time.h>

enum { PEER = 200, TARGETS = 4 };

static struct target {
  pid_t pid;
  uint64_t start_time;
} targets[TARGETS];
static struct broker_request request;
static unsigned char sent[64];
static size_t sent_bytes;
static uint64_t state, serial, counts[5], handed;

static uint64_t rnd(void) {  // xorshift64*
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * UINT64_C(2685821657736338717);
}

static _Noreturn void fail(const char *what, const char *detail) {
  printf("request %llu: %s: %s\n", (unsigned long long)serial, what, detail);
  for (size_t i = 0; i < sent_bytes; i++) printf("%02x", sent[i]);
  printf("\n");
  exit(1);
}

static uint64_t start_time_of(pid_t pid) {
  char path[64], text[1024];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  const int fd = open(path, O_RDONLY);
  const ssize_t got = read(fd, text, sizeof text - 1);
  close(fd);
  if (got <= 0) fail("no start time", path);
  text[got] = '\0';
  char *at = strrchr(text, ')');
  for (int field = 2; field < 22; field++) at = strchr(at + 1, ' ');
  return strtoull(at + 1, NULL, 10);
}

// A process with memfds, files that are called like them, and others; of another user where that can be.
static void start_target(struct target *target, bool other_user) {
  int ready[2];
  char byte;
  if (pipe(ready) != 0) fail("pipe", "");
  target->pid = fork();
  if (target->pid == 0) {
    char directory[] = "/tmp/memfd:XXXXXX";
    memfd_create("fuzz", 0);
    memfd_create("sealable", MFD_ALLOW_SEALING);
    if (mkdtemp(directory) != NULL) {
      char path[64];
      snprintf(path, sizeof path, "%s/memfd:x", directory);
      open(path, O_RDWR | O_CREAT, 0600);
      unlink(path);
      rmdir(directory);
    }
    open("/dev/null", O_RDWR);
    open("/proc/self/maps", O_RDONLY);
    if (other_user && setresuid(1000, 1000, 1000) != 0) _exit(1);
    // After it: a change of user clears both.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_DUMPABLE, 1);
    if (write(ready[1], "", 1) != 1) _exit(1);
    for (;;) pause();
  }
  if (read(ready[0], &byte, 1) != 1) fail("a target", "did not start");
  close(ready[0]);
  close(ready[1]);
  target->start_time = start_time_of(target->pid);
}

static uint32_t pick(const uint32_t *from, size_t count) { return from[rnd() % count]; }

// A request as the client makes it, sometimes with damage; or bytes alone.
static void make_request(void) {
  static const uint32_t ops[] = {OP_HELLO, OP_OPEN, OP_OPEN, OP_OPEN, OP_OPEN, OP_LIST_FDS, OP_GET_FD, OP_GET_FD};
  static const uint32_t of_process[] = {FILE_PAGEMAP, FILE_MAPS, FILE_SMAPS, FILE_FDINFO};
  static const uint32_t of_host[] = {FILE_KPAGEFLAGS, FILE_KPAGECOUNT, FILE_KPAGECGROUP, FILE_PAGETYPEINFO, FILE_BUFINFO,
                                     FILE_KCORE, FILE_KALLSYMS};
  memset(&request, 0, sizeof request);
  sent_bytes = sizeof request;
  request.op = pick(ops, COUNT(ops));
  bool process = request.op == OP_LIST_FDS || request.op == OP_GET_FD;
  if (request.op == OP_OPEN) {
    process = rnd() % 2 == 0;
    request.file = process ? pick(of_process, COUNT(of_process)) : pick(of_host, COUNT(of_host));
  }
  if (process) {
    const struct target *target = &targets[rnd() % TARGETS];
    request.pid = target->pid;
    request.start_time = target->start_time;
    if (request.op == OP_GET_FD || request.file == FILE_FDINFO) request.arg = (uint32_t)(rnd() % 12);
  }
  memcpy(sent, &request, sizeof request);
  const uint64_t kind = rnd() % 8;
  if (kind < 2) {
    for (uint64_t flips = 1 + rnd() % 3; flips > 0; flips--) sent[rnd() % sizeof request] ^= (unsigned char)(1 << rnd() % 8);
  } else if (kind == 2) {
    for (size_t i = 0; i < sizeof sent; i++) sent[i] = (unsigned char)rnd();
    if (rnd() % 2 == 0) sent_bytes = 1 + rnd() % sizeof sent;
  } else if (kind == 3) {
    // Right fields with small numbers, which reach further than random ones.
    uint32_t words[8];
    for (size_t i = 0; i < COUNT(words); i++) words[i] = rnd() % 3 == 0 ? (uint32_t)(rnd() % 40) : 0;
    memcpy(sent, words, sizeof words);
  }
  if (sent_bytes >= sizeof request) memcpy(&request, sent, sizeof request);
}

static bool is_target(void) {
  return broker.level == LEVEL_KERNEL_MEMORY ||
         (request.pid == broker.pid && request.start_time == broker.start_time);
}

static void check_opened(int fd, const char *link) {
  char expected[64];
  const struct file *file = find(process_files, COUNT(process_files), request.file);
  if (file != NULL) {
    if (!is_target()) fail("a file of a process that it may not", link);
    if (start_time_of(request.pid) != request.start_time) fail("a process of another start time", link);
    if (request.file == FILE_FDINFO) snprintf(expected, sizeof expected, "/proc/%d/fdinfo/%u", request.pid, request.arg);
    else snprintf(expected, sizeof expected, "/proc/%d/%s", request.pid, file->name);
  } else {
    file = find(host_files, COUNT(host_files), request.file);
    if (file == NULL || file->level > broker.level) fail("a file above its level", link);
    snprintf(expected, sizeof expected, "%s", file->name);
  }
  if (strcmp(link, expected) != 0) fail("another file than asked for", link);
  const int flags = fcntl(fd, F_GETFL);
  if ((flags & (O_ACCMODE | O_APPEND)) != O_RDONLY) fail("open for writing", link);
}

static void check_duplicate(int fd, const char *link) {
  if (!is_target()) fail("a descriptor of a process that it may not", link);
  if (strncmp(link, "/memfd:", 7) != 0 && strncmp(link, "/dmabuf:", 8) != 0) fail("neither memfd nor dma-buf", link);
  if (strstr(link, "memfd:x") != NULL) fail("an imitation", link);
  if (fcntl(fd, F_GET_SEALS) < 0) fail("no seals", link);
  if (broker.level == LEVEL_PAGES) {
    struct stat owner;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d", request.pid);
    if (stat(path, &owner) != 0 || owner.st_uid != broker.uid) fail("of another user", link);
  }
}

// Every packet of one reply.
static void check_reply(void) {
  static unsigned char data[65536];
  bool last = false;
  for (;;) {
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * 8)];
    struct iovec part = {data, sizeof data};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    const ssize_t got = recvmsg(PEER, &message, MSG_DONTWAIT);
    if (got < 0) break;
    struct broker_reply reply;
    if (last || (size_t)got < sizeof reply) fail("a packet", "too many, or too short");
    memcpy(&reply, data, sizeof reply);
    last = reply.last == 1;
    const size_t body = (size_t)got - sizeof reply;
    if (sent_bytes == sizeof request && reply.op != request.op) fail("a reply", "to another operation");
    if (sent_bytes != sizeof request && reply.error != EMSGSIZE) fail("a reply", "to a request of another size");
    if (reply.error < 0 || reply.error > 4095 || reply.last > 1) fail("a reply", "no errno");
    int fds = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header != NULL; header = CMSG_NXTHDR(&message, header)) {
      int fd;
      char path[64], link[PATH_MAX];
      memcpy(&fd, CMSG_DATA(header), sizeof fd);
      if (header->cmsg_len != CMSG_LEN(sizeof fd) || ++fds > 1) fail("descriptors", "more than one");
      snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
      const ssize_t length = readlink(path, link, sizeof link - 1);
      link[length < 0 ? 0 : length] = '\0';
      if (sent_bytes != sizeof request || request.reserved != 0) fail("a descriptor for a request of another form", link);
      if (request.op == OP_OPEN) check_opened(fd, link);
      else if (request.op == OP_GET_FD) check_duplicate(fd, link);
      else fail("a descriptor for nothing", link);
      close(fd);
      handed++;
    }
    const bool is_list = request.op == OP_LIST_FDS && sent_bytes == sizeof request;
    const bool is_hello = request.op == OP_HELLO && sent_bytes == sizeof request && reply.error == 0;
    if (is_list) {
      if (body != reply.count * sizeof(struct broker_row) || (body > 0 && !is_target())) fail("a list", "of another size");
      for (size_t i = 0; i < reply.count; i++) {
        struct broker_row row;
        memcpy(&row, data + sizeof reply + i * sizeof row, sizeof row);
        char link[sizeof row.link + 1] = "";
        memcpy(link, row.link, sizeof row.link);
        // The list again, and not the broker's own.
        const char *kinds[] = {"/dmabuf:", "/memfd:", "/dev/udmabuf", "/dev/vfio/", "/dev/iommu", "anon_inode:"};
        size_t kind = 0;
        while (kind < COUNT(kinds) && strncmp(link, kinds[kind], strlen(kinds[kind])) != 0) kind++;
        if (kind == COUNT(kinds)) fail("a row of another kind", link);
      }
    } else {
      if (body != (is_hello ? sizeof(struct broker_hello) : 0)) fail("a reply", "of another size");
      if (!last || reply.count != (uint32_t)fds || (reply.error != 0 && fds > 0)) fail("a reply", "count");
    }
    if (reply.error == 0 && reply.op < COUNT(counts)) counts[reply.op]++;
  }
  if (!last) fail("a reply", "none, or without its last packet");
}

static int open_fds(void) {
  DIR *dir = opendir("/proc/self/fd");
  int count = 0;
  while (readdir(dir) != NULL) count++;
  closedir(dir);
  return count;
}

int main(int argc, char **argv) {
  const uint64_t requests = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
  state = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL) * 1000003 + (uint64_t)getpid();
  state |= 1;
  printf("%llu requests, seed %llu\n", (unsigned long long)requests, (unsigned long long)state);
  fflush(stdout);
  int pair[2];
  const int room = 4 << 20;
  for (int i = 0; i < TARGETS - 1; i++) start_target(&targets[i], i == 1 && geteuid() == 0);
  targets[TARGETS - 1] = (struct target){getpid(), start_time_of(getpid())};
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) fail("socketpair", strerror(errno));
  setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  dup2(pair[0], 0);
  dup2(pair[1], PEER);
  close(pair[0]);
  close(pair[1]);
  find_memfds(&broker);
  broker.uid = getuid();
  broker.proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
  const int before = open_fds();
  for (serial = 0; serial < requests; serial++) {
    if (serial % 1000 == 0) {
      const struct target *target = &targets[rnd() % TARGETS];
      broker.level = rnd() % 2 == 0 ? LEVEL_PAGES : LEVEL_KERNEL_MEMORY;
      broker.pid = broker.level == LEVEL_PAGES ? target->pid : 0;
      // Now and then the process that was meant is gone, and its pid has come back.
      broker.start_time = broker.level == LEVEL_PAGES ? target->start_time + (rnd() % 4 == 0) : 0;
      if (open_fds() != before) fail("descriptors", "are left open");
    }
    make_request();
    if (send(PEER, sent, sent_bytes, 0) != (ssize_t)sent_bytes) fail("send", strerror(errno));
    if (!serve_one()) fail("it ended", "");
    check_reply();
  }
  if (open_fds() != before) fail("descriptors", "are left open");
  for (int i = 0; i < TARGETS - 1; i++) {
    kill(targets[i].pid, SIGKILL);
    waitpid(targets[i].pid, NULL, 0);
  }
  printf("good answers: hello %llu, open %llu, list %llu, get %llu; %llu descriptors looked at, none left\n",
         (unsigned long long)counts[OP_HELLO], (unsigned long long)counts[OP_OPEN], (unsigned long long)counts[OP_LIST_FDS],
         (unsigned long long)counts[OP_GET_FD], (unsigned long long)handed);
  return 0;
}
