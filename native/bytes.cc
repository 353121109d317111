// Scattered reads of bytes: kernel memory through /proc/kcore (fs/proc/kcore.c), or any other file.
#include <sys/types.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "jobs.h"

namespace pinscope {

namespace {

constexpr size_t kChunk = size_t{1} << 20;
// Near ranges are read together through a buffer of this size when the bytes between them are at most kGap: a
// struct page here and there costs less to copy than to ask for.
constexpr size_t kWindow = size_t{1} << 16;
constexpr uint64_t kGap = 1024;
constexpr size_t kStepRanges = 256;

class BytesJob : public Job {
 public:
  BytesJob(UniqueFd fd, std::string path, ByteRanges ranges, Napi::Uint8Array data)
      : Job("read", std::move(path)),
        fd_(std::move(fd)),
        ranges_(std::move(ranges)),
        array_(Napi::Persistent(data)),
        data_(data.Data()),
        page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))) {}

  void Run(Caller& caller) override {
    const size_t n = ranges_.offset.size();
    read_.resize(n);
    errno_.resize(n);
    uint64_t total = 0;
    for (const uint32_t length : ranges_.length) total += length;
    caller.Begin(total);

    uint64_t at = 0;  // of the next range in data
    for (size_t i = 0; i < n;) {
      const size_t after = Together(i);
      size_t k = after - i > 1 ? ReadTogether(i, after, at) : i;
      // What the window did not reach is read for itself: its errno may be another range's.
      for (; k < after; k++) {
        ReadAlone(caller, k, at);
        at += ranges_.length[k];
      }
      i = after;
      caller.Step(at);
    }
  }

  Napi::Value Result(Napi::Env env) override {
    Napi::Object result = Napi::Object::New(env);
    Napi::Uint32Array read = Napi::Uint32Array::New(env, read_.size());
    Napi::Int32Array error = Napi::Int32Array::New(env, errno_.size());
    if (!read_.empty()) {
      std::memcpy(read.Data(), read_.data(), read_.size() * sizeof(uint32_t));
      std::memcpy(error.Data(), errno_.data(), errno_.size() * sizeof(int32_t));
    }
    result.Set("data", array_.Value());
    result.Set("read", read);
    result.Set("errno", error);
    return result;
  }

 private:
  size_t Together(size_t begin) const {
    const uint64_t start = ranges_.offset[begin];
    size_t i = begin + 1;
    if (start > uint64_t{INT64_MAX} - kWindow || ranges_.length[begin] > kWindow) return i;
    uint64_t end = start + ranges_.length[begin];
    for (; i < ranges_.offset.size() && i - begin < kStepRanges; i++) {
      const uint64_t offset = ranges_.offset[i];
      const uint64_t length = ranges_.length[i];
      if (offset < start || offset > end + kGap || offset + length - start > kWindow) break;
      end = std::max(end, offset + length);
    }
    return i;
  }

  // Reads [begin, after) at once; the first range that was not read to its end. Moves `at` to it.
  size_t ReadTogether(size_t begin, size_t after, uint64_t& at) {
    static thread_local std::unique_ptr<uint8_t[]> window(new uint8_t[kWindow]);
    const uint64_t start = ranges_.offset[begin];
    uint64_t span = 0;
    for (size_t i = begin; i < after; i++) span = std::max(span, ranges_.offset[i] - start + ranges_.length[i]);
    int ignored;
    const uint64_t got = ReadAt(fd_.get(), window.get(), span, start, ignored);
    size_t i = begin;
    for (; i < after; i++) {
      const uint64_t from = ranges_.offset[i] - start;
      const uint32_t length = ranges_.length[i];
      if (from + length > got) break;
      if (length > 0) std::memcpy(data_ + at, window.get() + from, length);
      read_[i] = length;
      at += length;
    }
    return i;
  }

  void ReadAlone(Caller& caller, size_t range, uint64_t at) {
    const uint64_t offset = ranges_.offset[range];
    const uint64_t length = ranges_.length[range];
    uint64_t got = 0;
    int error = 0;
    if (length > 0 && offset > uint64_t{INT64_MAX} - length) error = EINVAL;
    while (error == 0 && got < length) {
      const size_t want = std::min<uint64_t>(length - got, kChunk);
      const size_t more = ReadAt(fd_.get(), data_ + at + got, want, offset + got, error);
      got += more;
      if (error != 0) got += ReadPages(data_ + at + got, want - more, offset + got, error);
      else if (more < want) break;  // the file ends
      caller.Step(at + got);
    }
    // A failed read may have left bytes behind.
    if (got < length) std::memset(data_ + at + got, 0, length - got);
    read_[range] = static_cast<uint32_t>(got);
    errno_[range] = error;
  }

  // Where a long read failed as a whole (kcore says EFAULT and not how far it came): up to the page that fails.
  size_t ReadPages(uint8_t* to, size_t size, uint64_t offset, int& error) {
    size_t got = 0;
    error = 0;
    while (error == 0 && got < size) {
      const size_t want = std::min<uint64_t>(size - got, page_ - (offset + got) % page_);
      const size_t more = ReadAt(fd_.get(), to + got, want, offset + got, error);
      got += more;
      if (more < want) break;
    }
    return got;
  }

  UniqueFd fd_;
  ByteRanges ranges_;
  // V8's own memory, written from the pool thread; JS sees it when the promise resolves.
  Napi::Reference<Napi::Uint8Array> array_;
  uint8_t* data_;
  size_t page_;
  std::vector<uint32_t> read_;
  std::vector<int32_t> errno_;
};

}  // namespace

size_t ReadAt(int fd, void* to, size_t size, uint64_t offset, int& error) {
  error = 0;
  size_t got = 0;
  while (got < size) {
    const ssize_t n = pread(fd, static_cast<char*>(to) + got, size - got, static_cast<off_t>(offset + got));
    if (n > 0) {
      got += static_cast<size_t>(n);
    } else if (n == 0) {
      break;
    } else if (errno != EINTR) {
      error = errno;
      break;
    }
  }
  return got;
}

std::unique_ptr<Job> ReadBytes(UniqueFd fd, std::string path, ByteRanges ranges, Napi::Uint8Array data) {
  return std::make_unique<BytesJob>(std::move(fd), std::move(path), std::move(ranges), data);
}

}  // namespace pinscope
