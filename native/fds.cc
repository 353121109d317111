// The open files of a process (fs/proc/fd.c) and duplicates of them (pidfd_open(2), pidfd_getfd(2)).
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "jobs.h"

// glibc of the older systems knows neither; the numbers are the same on all architectures.
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

namespace pinscope {

namespace {

constexpr size_t kStepFds = 64;

struct Row {
  int fd = 0;
  int error = 0;
  std::string link;
  uint64_t dev = 0;
  uint64_t ino = 0;
  uint64_t size = 0;
  int64_t ctime_ns = 0;
  uint32_t mode = 0;
  uint32_t block_bytes = 0;
};

struct CloseDir {
  void operator()(DIR* dir) const { closedir(dir); }
};

template <typename Array, typename T>
Array Column(Napi::Env env, const std::vector<Row>& rows, T Row::*column) {
  Array array = Array::New(env, rows.size());
  for (size_t i = 0; i < rows.size(); i++) array.Data()[i] = rows[i].*column;
  return array;
}

class ListFdsJob : public Job {
 public:
  ListFdsJob(std::string directory, std::vector<std::string> prefixes)
      : Job("open", std::move(directory)), prefixes_(std::move(prefixes)) {}

  void Run(Caller& caller) override {
    UniqueFd fd(open(path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd.get() < 0) throw SystemError(errno, "open", path());
    const std::unique_ptr<DIR, CloseDir> dir(fdopendir(fd.get()));
    if (!dir) throw SystemError(errno, "open", path());
    fd.release();  // the stream's now

    const std::vector<int> fds = Numbers(caller, dir.get());
    caller.Begin(fds.size());
    for (size_t i = 0; i < fds.size(); i++) {
      if (i % kStepFds == 0) caller.Step(i);
      Row row;
      if (Look(dirfd(dir.get()), fds[i], row)) rows_.push_back(std::move(row));
    }
    caller.Step(fds.size());
  }

  Napi::Value Result(Napi::Env env) override {
    Napi::Array links = Napi::Array::New(env, rows_.size());
    for (size_t i = 0; i < rows_.size(); i++) {
      Napi::HandleScope scope(env);
      links.Set(static_cast<uint32_t>(i), Napi::String::New(env, rows_[i].link));
    }
    Napi::Object result = Napi::Object::New(env);
    result.Set("fd", Column<Napi::Int32Array>(env, rows_, &Row::fd));
    result.Set("link", links);
    result.Set("dev", Column<Napi::BigUint64Array>(env, rows_, &Row::dev));
    result.Set("ino", Column<Napi::BigUint64Array>(env, rows_, &Row::ino));
    result.Set("size", Column<Napi::BigUint64Array>(env, rows_, &Row::size));
    result.Set("ctimeNs", Column<Napi::BigInt64Array>(env, rows_, &Row::ctime_ns));
    result.Set("mode", Column<Napi::Uint32Array>(env, rows_, &Row::mode));
    result.Set("blockBytes", Column<Napi::Uint32Array>(env, rows_, &Row::block_bytes));
    result.Set("errno", Column<Napi::Int32Array>(env, rows_, &Row::error));
    return result;
  }

 private:
  // The names that are numbers.
  std::vector<int> Numbers(Caller& caller, DIR* dir) const {
    std::vector<int> fds;
    for (;;) {
      if (fds.size() % kStepFds == 0) caller.Step(0);
      errno = 0;
      const dirent* entry = readdir(dir);
      if (entry == nullptr) break;
      int number;
      const char* end = entry->d_name + std::strlen(entry->d_name);
      const auto parsed = std::from_chars(entry->d_name, end, number);
      if (parsed.ec == std::errc() && parsed.ptr == end && number >= 0) fds.push_back(number);
    }
    if (errno != 0) throw SystemError(errno, "getdents", path());
    return fds;
  }

  // False when the link is of another kind than asked for.
  bool Look(int dir, int number, Row& row) const {
    row.fd = number;
    const std::string name = std::to_string(number);
    char link[PATH_MAX + 1];
    const ssize_t length = readlinkat(dir, name.c_str(), link, sizeof link);
    if (length < 0) {
      row.error = errno;
      return true;
    }
    row.link.assign(link, static_cast<size_t>(length));
    if (!Wanted(row.link)) return false;
    // Follows the link to the file itself, without opening it.
    struct stat st;
    if (fstatat(dir, name.c_str(), &st, 0) != 0) {
      row.error = errno;
      return true;
    }
    row.dev = st.st_dev;
    row.ino = st.st_ino;
    row.size = static_cast<uint64_t>(st.st_size);
    row.ctime_ns = int64_t{st.st_ctim.tv_sec} * 1000000000 + st.st_ctim.tv_nsec;
    row.mode = st.st_mode;
    row.block_bytes = static_cast<uint32_t>(st.st_blksize);
    return true;
  }

  bool Wanted(const std::string& link) const {
    return prefixes_.empty() || std::any_of(prefixes_.begin(), prefixes_.end(), [&](const std::string& prefix) {
             return link.compare(0, prefix.size(), prefix) == 0;
           });
  }

  std::vector<std::string> prefixes_;
  std::vector<Row> rows_;
};

// The result is a descriptor; it is closed here when JS never gets it.
class FdJob : public Job {
 public:
  using Job::Job;
  Napi::Value Result(Napi::Env env) override {
    Napi::Value number = Napi::Number::New(env, fd_.get());
    fd_.release();
    return number;
  }

 protected:
  void Take(long fd) {
    if (fd < 0) throw Failure(errno);
    fd_.reset(static_cast<int>(fd));
  }

 private:
  UniqueFd fd_;
};

class PidfdOpenJob : public FdJob {
 public:
  explicit PidfdOpenJob(int pid) : FdJob("pidfd_open", "pid " + std::to_string(pid)), pid_(pid) {}
  void Run(Caller&) override { Take(syscall(SYS_pidfd_open, pid_, 0)); }

 private:
  int pid_;
};

class PidfdGetfdJob : public FdJob {
 public:
  PidfdGetfdJob(UniqueFd pidfd, int target)
      : FdJob("pidfd_getfd", "fd " + std::to_string(target)), pidfd_(std::move(pidfd)), target_(target) {}
  void Run(Caller&) override { Take(syscall(SYS_pidfd_getfd, pidfd_.get(), target_, 0)); }

 private:
  UniqueFd pidfd_;
  int target_;
};

class GetSealsJob : public Job {
 public:
  GetSealsJob(UniqueFd fd, std::string path) : Job("fcntl", std::move(path)), fd_(std::move(fd)) {}
  void Run(Caller&) override {
    seals_ = fcntl(fd_.get(), F_GET_SEALS);
    if (seals_ < 0) throw Failure(errno);
  }
  Napi::Value Result(Napi::Env env) override { return Napi::Number::New(env, seals_); }

 private:
  UniqueFd fd_;
  int seals_ = 0;
};

}  // namespace

UniqueFd Duplicate(int fd) {
  UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (copy.get() < 0) throw SystemError(errno, "fcntl", "fd " + std::to_string(fd));
  return copy;
}

std::unique_ptr<Job> ListFds(std::string directory, std::vector<std::string> prefixes) {
  return std::make_unique<ListFdsJob>(std::move(directory), std::move(prefixes));
}

std::unique_ptr<Job> PidfdOpen(int pid) { return std::make_unique<PidfdOpenJob>(pid); }

std::unique_ptr<Job> PidfdGetfd(UniqueFd pidfd, int target) {
  return std::make_unique<PidfdGetfdJob>(std::move(pidfd), target);
}

std::unique_ptr<Job> GetSeals(UniqueFd fd, std::string path) {
  return std::make_unique<GetSealsJob>(std::move(fd), std::move(path));
}

}  // namespace pinscope
