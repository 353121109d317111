#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "unique_fd.h"
#include "worker.h"

namespace pinscope {

// `count[i]` entries of 8 bytes from entry `first[i]` on; all sums stay below 2^53.
struct EntryRanges {
  std::vector<uint64_t> first;
  std::vector<uint64_t> count;
};

// `length[i]` bytes from `offset[i]` on.
struct ByteRanges {
  std::vector<uint64_t> offset;
  std::vector<uint32_t> length;
};

std::unique_ptr<Job> ReadPageRuns(UniqueFd fd, std::string path, EntryRanges ranges);
std::unique_ptr<Job> ReadValueRuns(UniqueFd fd, std::string path, EntryRanges ranges);
// `data` has room for all ranges.
std::unique_ptr<Job> ReadBytes(UniqueFd fd, std::string path, ByteRanges ranges, Napi::Uint8Array data);
std::unique_ptr<Job> ListFds(std::string directory, std::vector<std::string> prefixes);
std::unique_ptr<Job> PidfdOpen(int pid);
std::unique_ptr<Job> PidfdGetfd(UniqueFd pidfd, int target);
std::unique_ptr<Job> GetSeals(UniqueFd fd, std::string path);

// A new close-on-exec duplicate: JS may close its own while the work runs.
UniqueFd Duplicate(int fd);

// One packet and the descriptors beside it.
struct Packet {
  std::vector<uint8_t> data;
  std::vector<UniqueFd> fds;
};
constexpr size_t kMaxPacketFds = 16;

// Both ends close-on-exec.
std::pair<UniqueFd, UniqueFd> SocketPair();
// These two block, at most this long: ETIMEDOUT. EPIPE or ECONNRESET where the other end is closed.
void SendPacket(int fd, const std::vector<uint8_t>& data, int timeout_ms, const std::string& path);
// EMSGSIZE where the packet is longer, EMFILE where more descriptors came than there is room for: all are closed then.
Packet ReceivePacket(int fd, size_t max_bytes, int timeout_ms, const std::string& path);

// read(2) at `offset` until `size` bytes are there or the file ends; the bytes read. Sets `error` to 0 or the errno
// that ended it.
size_t ReadAt(int fd, void* to, size_t size, uint64_t offset, int& error);

}  // namespace pinscope
