// Merged runs of files that hold one u64 an entry: /proc/PID/pagemap (fs/proc/task_mmu.c, pagemap_read) and
// /proc/kpageflags, kpagecount, kpagecgroup (fs/proc/page.c).
#include <algorithm>
#include <cstring>

#include "jobs.h"

namespace pinscope {

namespace {

// 256 KiB: stays in the second-level cache between the kernel's copy and the merge, and the system call is long
// since paid for.
constexpr uint64_t kChunkEntries = 32768;

constexpr uint64_t kFrameMask = (uint64_t{1} << 55) - 1;
constexpr uint64_t kPresent = uint64_t{1} << 63;

struct PageBlock {
  static constexpr size_t kRows = 16384;
  double page[kRows];
  double count[kRows];
  double frame[kRows];
  uint16_t flags[kRows];
};

struct ValueBlock {
  static constexpr size_t kRows = 16384;
  double page[kRows];
  double count[kRows];
  uint64_t value[kRows];
};

// Rows in blocks: growing never copies what is there.
template <typename Block>
class Rows {
 public:
  // The block and the index in it of a new row, for the caller to fill.
  Block& Add(size_t& row) {
    if (used_ == Block::kRows) {
      blocks_.emplace_back(new Block);  // not make_unique: that would zero it
      used_ = 0;
    }
    row = used_++;
    return *blocks_.back();
  }

  template <typename Array, typename T>
  Array Column(Napi::Env env, T (Block::*column)[Block::kRows]) const {
    const size_t size = blocks_.empty() ? 0 : (blocks_.size() - 1) * Block::kRows + used_;
    Array array = Array::New(env, size);
    for (size_t block = 0, at = 0; at < size; block++, at += Block::kRows) {
      std::memcpy(array.Data() + at, (*blocks_[block]).*column, std::min(Block::kRows, size - at) * sizeof(T));
    }
    return array;
  }

 private:
  std::vector<std::unique_ptr<Block>> blocks_;
  size_t used_ = Block::kRows;
};

// How many of the `n` entries at `p` go on as first, first + Step, first + 2 * Step, …
template <uint64_t Step>
size_t Continues(const uint64_t* p, size_t n, uint64_t first) {
  constexpr size_t kBlock = 16;
  size_t k = 0;
  // No branch inside a block, so that the compiler makes vectors of it.
  for (; n - k >= kBlock; k += kBlock) {
    const uint64_t base = first + Step * k;
    uint64_t differs = 0;
    for (size_t i = 0; i < kBlock; i++) differs |= p[k + i] ^ (base + Step * i);
    if (differs != 0) break;
  }
  while (k < n && p[k] == first + Step * k) k++;
  return k;
}

class PageRuns {
 public:
  // In pagemap neighbours of a present page have the next PFN, except where the reader may not see PFNs (all 0).
  static bool Steps(uint64_t entry) { return (entry & kPresent) != 0 && (entry & kFrameMask) != 0; }

  void Add(uint64_t page, uint64_t count, uint64_t entry) {
    size_t row;
    PageBlock& block = rows_.Add(row);
    block.page[row] = static_cast<double>(page);
    block.count[row] = static_cast<double>(count);
    block.frame[row] = static_cast<double>(entry & kFrameMask);
    block.flags[row] = static_cast<uint16_t>(entry >> 55);
  }

  void Fill(Napi::Env env, Napi::Object result) const {
    result.Set("page", rows_.Column<Napi::Float64Array>(env, &PageBlock::page));
    result.Set("count", rows_.Column<Napi::Float64Array>(env, &PageBlock::count));
    result.Set("frame", rows_.Column<Napi::Float64Array>(env, &PageBlock::frame));
    result.Set("flags", rows_.Column<Napi::Uint16Array>(env, &PageBlock::flags));
  }

  // Gaps up to this are read with their neighbours: cheaper than another walk.
  static constexpr uint64_t kGap = 4;

 private:
  Rows<PageBlock> rows_;
};

class ValueRuns {
 public:
  static bool Steps(uint64_t) { return false; }

  void Add(uint64_t page, uint64_t count, uint64_t entry) {
    size_t row;
    ValueBlock& block = rows_.Add(row);
    block.page[row] = static_cast<double>(page);
    block.count[row] = static_cast<double>(count);
    block.value[row] = entry;
  }

  void Fill(Napi::Env env, Napi::Object result) const {
    result.Set("page", rows_.Column<Napi::Float64Array>(env, &ValueBlock::page));
    result.Set("count", rows_.Column<Napi::Float64Array>(env, &ValueBlock::count));
    result.Set("value", rows_.Column<Napi::BigUint64Array>(env, &ValueBlock::value));
  }

  // The kernel looks at every page of kpageflags: about what a system call costs, so no gap is worth it.
  static constexpr uint64_t kGap = 0;

 private:
  Rows<ValueBlock> rows_;
};

template <typename Runs>
class Merger {
 public:
  explicit Merger(Runs& runs) : runs_(runs) {}

  // The entries of `n` pages from `page` on, which follow those of the call before unless End came between.
  void Feed(uint64_t page, const uint64_t* entry, size_t n) {
    while (n > 0) {
      if (count_ == 0) Open(page, *entry);
      size_t k;
      if (steps_) {
        // A carry out of the PFN field would change the flags.
        const uint64_t room = kFrameMask + 1 - (entry_ & kFrameMask) - count_;
        k = Continues<1>(entry, std::min<uint64_t>(n, room), entry_ + count_);
      } else {
        k = Continues<0>(entry, n, entry_);
      }
      count_ += k;
      page += k;
      entry += k;
      n -= k;
      if (n > 0) End();
    }
  }

  // Closes the run in hand.
  void End() {
    if (count_ > 0) runs_.Add(page_, count_, entry_);
    count_ = 0;
  }

 private:
  void Open(uint64_t page, uint64_t entry) {
    page_ = page;
    entry_ = entry;
    steps_ = Runs::Steps(entry);
  }

  Runs& runs_;
  uint64_t page_ = 0;
  uint64_t count_ = 0;
  uint64_t entry_ = 0;
  bool steps_ = false;
};

// A buffer a pool thread keeps: fresh memory would cost a fault a page in every call.
uint64_t* ChunkBuffer() {
  static thread_local std::unique_ptr<uint64_t[]> buffer(new uint64_t[kChunkEntries]);
  return buffer.get();
}

template <typename Runs>
class RunsJob : public Job {
 public:
  RunsJob(UniqueFd fd, std::string path, EntryRanges ranges)
      : Job("read", std::move(path)), fd_(std::move(fd)), ranges_(std::move(ranges)) {}

  void Run(Caller& caller) override {
    uint64_t total = 0;
    for (const uint64_t count : ranges_.count) total += count;
    caller.Begin(total);

    Merger<Runs> merger(runs_);
    const size_t ranges = ranges_.first.size();
    uint64_t done = 0;
    for (size_t i = 0; i < ranges;) {
      if (ranges_.count[i] > kChunkEntries) {
        done = RunLong(caller, merger, i++, done);
      } else {
        const size_t after = Together(i);
        done = RunTogether(merger, i, after, done);
        i = after;
        caller.Step(done);
      }
    }
  }

  Napi::Value Result(Napi::Env env) override {
    Napi::Object result = Napi::Object::New(env);
    runs_.Fill(env, result);
    result.Set("missing", Napi::Number::New(env, static_cast<double>(missing_)));
    return result;
  }

 private:
  uint64_t RunLong(Caller& caller, Merger<Runs>& merger, size_t range, uint64_t done) {
    uint64_t* buffer = ChunkBuffer();
    uint64_t page = ranges_.first[range];
    const uint64_t end = page + ranges_.count[range];
    while (page < end) {
      const uint64_t want = std::min(end - page, kChunkEntries);
      const uint64_t got = Read(buffer, page, want);
      merger.Feed(page, buffer, got);
      page += got;
      done += got;
      if (got < want) {
        missing_ += end - page;
        done += end - page;
        page = end;
      }
      caller.Step(done);
    }
    merger.End();
    return done;
  }

  // One past the last range that is read together with `begin`: rising, near, a chunk in all.
  size_t Together(size_t begin) const {
    const uint64_t start = ranges_.first[begin];
    uint64_t end = start + ranges_.count[begin];
    size_t i = begin + 1;
    for (; i < ranges_.first.size(); i++) {
      const uint64_t first = ranges_.first[i];
      if (first < end || first - end > Runs::kGap || first + ranges_.count[i] - start > kChunkEntries) break;
      end = first + ranges_.count[i];
    }
    return i;
  }

  uint64_t RunTogether(Merger<Runs>& merger, size_t begin, size_t after, uint64_t done) {
    uint64_t* buffer = ChunkBuffer();
    const uint64_t start = ranges_.first[begin];
    const uint64_t span = ranges_.first[after - 1] + ranges_.count[after - 1] - start;
    const uint64_t got = Read(buffer, start, span);
    for (size_t i = begin; i < after; i++) {
      const uint64_t at = ranges_.first[i] - start;
      const uint64_t count = ranges_.count[i];
      const uint64_t have = got <= at ? 0 : std::min(count, got - at);
      merger.Feed(ranges_.first[i], buffer + at, have);
      merger.End();
      missing_ += count - have;
      done += count;
    }
    return done;
  }

  uint64_t Read(uint64_t* to, uint64_t page, uint64_t count) const {
    int error;
    const size_t got = ReadAt(fd_.get(), to, count * sizeof(uint64_t), page * sizeof(uint64_t), error);
    if (error != 0) throw Failure(error);
    return got / sizeof(uint64_t);
  }

  UniqueFd fd_;
  EntryRanges ranges_;
  Runs runs_;
  uint64_t missing_ = 0;
};

}  // namespace

std::unique_ptr<Job> ReadPageRuns(UniqueFd fd, std::string path, EntryRanges ranges) {
  return std::make_unique<RunsJob<PageRuns>>(std::move(fd), std::move(path), std::move(ranges));
}

std::unique_ptr<Job> ReadValueRuns(UniqueFd fd, std::string path, EntryRanges ranges) {
  return std::make_unique<RunsJob<ValueRuns>>(std::move(fd), std::move(path), std::move(ranges));
}

}  // namespace pinscope
