// Packets over a SOCK_SEQPACKET socket, with descriptors beside them (unix(7)). Synchronous, as opening a file is; what
// is waited for is bounded by the caller.
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "jobs.h"

namespace pinscope {

namespace {

using Clock = std::chrono::steady_clock;

void WaitFor(int fd, short events, Clock::time_point deadline, const std::string& path) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd entry{fd, events, 0};
    const int ready = poll(&entry, 1, static_cast<int>(std::max<decltype(left)>(left, 0)));
    if (ready > 0) return;
    if (ready == 0) throw SystemError(ETIMEDOUT, "poll", path);
    if (errno != EINTR) throw SystemError(errno, "poll", path);
  }
}

}  // namespace

std::pair<UniqueFd, UniqueFd> SocketPair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) throw SystemError(errno, "socketpair", "");
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

void SendPacket(int fd, const std::vector<uint8_t>& data, int timeout_ms, const std::string& path) {
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  for (;;) {
    if (send(fd, data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return;
    if (errno == EAGAIN) {
      WaitFor(fd, POLLOUT, deadline, path);
    } else if (errno != EINTR) {
      throw SystemError(errno, "send", path);
    }
  }
}

Packet ReceivePacket(int fd, size_t max_bytes, int timeout_ms, const std::string& path) {
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  Packet packet;
  packet.data.resize(max_bytes);
  for (;;) {
    WaitFor(fd, POLLIN, deadline, path);
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxPacketFds)];
    iovec part{packet.data.data(), packet.data.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t got = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (got < 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      throw SystemError(errno, "recvmsg", path);
    }
    // First of all: from here on they have an owner.
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
      if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
      const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; i++) {
        int number;
        std::memcpy(&number, CMSG_DATA(header) + i * sizeof(int), sizeof number);
        packet.fds.emplace_back(number);
      }
    }
    if ((message.msg_flags & MSG_CTRUNC) != 0) throw SystemError(EMFILE, "recvmsg", path);
    if ((message.msg_flags & MSG_TRUNC) != 0) throw SystemError(EMSGSIZE, "recvmsg", path);
    if (got == 0 && packet.fds.empty()) throw SystemError(ECONNRESET, "recvmsg", path);
    packet.data.resize(static_cast<size_t>(got));
    return packet;
  }
}

}  // namespace pinscope
