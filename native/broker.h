// What goes over the broker's socket (AF_UNIX, SOCK_SEQPACKET): a request is one packet, its reply one or, for a list,
// several, the last marked. Both sides are built together and run on one machine: its byte order. sampler/broker.ts is
// the other side.
#pragma once

#include <stdint.h>

#define BROKER_PROTOCOL 1
#define BROKER_ROWS 64

enum { LEVEL_PAGES = 1, LEVEL_KERNEL_MEMORY = 2 };
enum { OP_HELLO = 1, OP_OPEN = 2, OP_LIST_FDS = 3, OP_GET_FD = 4 };
enum {
  // Of a process.
  FILE_PAGEMAP = 1,
  FILE_MAPS = 2,
  FILE_SMAPS = 3,
  FILE_FDINFO = 4,  // arg: the fd
  // Of the machine.
  FILE_KPAGEFLAGS = 16,
  FILE_KPAGECOUNT = 17,
  FILE_KPAGECGROUP = 18,
  FILE_PAGETYPEINFO = 19,
  FILE_BUFINFO = 20,
  // Only at level kernel-memory.
  FILE_KCORE = 32,
  FILE_KALLSYMS = 33,
};

// What an operation does not use must be 0.
struct broker_request {
  uint32_t op;
  uint32_t file;        // open
  int32_t pid;          // open of a process's file, list, get
  uint32_t arg;         // fdinfo, get: the fd
  uint64_t start_time;  // with pid: field 22 of its stat
  uint64_t reserved;
};

// Followed by a broker_hello or `count` rows; a descriptor comes beside it.
struct broker_reply {
  uint32_t op;
  int32_t error;   // errno; 0: done
  uint32_t count;  // rows, or descriptors
  uint32_t last;
};

struct broker_hello {
  uint32_t protocol;
  uint32_t level;
  int32_t pid;  // at level pages
  uint32_t uid;
  uint64_t start_time;
  int32_t broker_pid;
  uint32_t reserved;
};

struct broker_row {
  int32_t fd;
  int32_t error;  // errno of statx; what follows it is 0 then
  uint64_t dev;   // as st_dev
  uint64_t ino;
  uint64_t size;
  int64_t ctime_ns;
  uint32_t block_bytes;
  uint32_t mode;
  uint32_t link_bytes;  // of the whole link: a longer one is cut
  char link[276];
};

_Static_assert(sizeof(struct broker_request) == 32, "no padding");
_Static_assert(sizeof(struct broker_reply) == 16, "no padding");
_Static_assert(sizeof(struct broker_hello) == 32, "no padding");
_Static_assert(sizeof(struct broker_row) == 328, "no padding");
