// Everything that the broker does before it serves.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

// Whom it serves, and what it needs for that. Set once.
struct broker {
  uint32_t level;
  int32_t pid;  // at level pages; else 0
  uint64_t start_time;
  uid_t uid;  // who asked
  int proc;   // O_PATH of /proc
  int memfds;
  dev_t memfd_dev[4];  // the file systems of memfds
};

// Exit codes; 126 and 127 are pkexec's own, 1 is sudo's.
enum { EXIT_WRONG_USAGE = 2, EXIT_NOT_BY_PKEXEC = 3, EXIT_NO_SOCKET = 4, EXIT_NOT_CONFINED = 5 };

// Fills `broker`, gives up all other rights, and says `ready` on standard output. Does not return where something is not as
// it must be: says so in a sentence on standard error and exits.
void broker_start(int argc, char **argv, struct broker *broker);

// Digits and nothing else, up to `max`.
bool broker_number(const char *text, uint64_t max, uint64_t *value);
