// Merged runs of files that hold one u64 an entry: /proc/PID/pagemap (fs/proc/task_mmu.c, pagemap_read) and
// /proc/kpageflags, kpagecount, kpagecgroup (fs/proc/page.c).
#include <algorithm>
#include <cstring>
#include <mutex>

#include "jobs.h"

// The default target's vectors hold two entries and cannot compare them; AVX2 where the processor has it.
#if defined(__x86_64__) && !defined(PINSCOPE_NO_AVX2)
#define PINSCOPE_AVX2
#endif

namespace pinscope {

namespace {

#ifdef PINSCOPE_AVX2
const bool kHasAvx2 = __builtin_cpu_supports("avx2");
#endif

// 64 KiB: stays in the near caches between the kernel's copy and the merge, and the system call is long
// since paid for.
constexpr uint64_t kChunkEntries = 8192;

constexpr uint64_t kFrameMask = (uint64_t{1} << 55) - 1;

// All are below 2^63, and the conversion of signed numbers is one instruction.
double ToDouble(uint64_t number) { return static_cast<double>(static_cast<int64_t>(number)); }

struct PageBlock {
  static constexpr size_t kRows = 4096;
  double page[kRows];
  double count[kRows];
  double frame[kRows];
  uint16_t flags[kRows];
};

struct ValueBlock {
  static constexpr size_t kRows = 4096;
  double page[kRows];
  double count[kRows];
  uint64_t value[kRows];
};

// Blocks of calls that are over, for those that come: fresh memory costs a fault a page, and giving it back interrupts
// the other processors. Never more than kKept, and those only where a scan once needed them.
template <typename Block>
class Spare {
 public:
  static std::unique_ptr<Block> Take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (blocks_.empty()) return std::unique_ptr<Block>(new Block);  // not make_unique: that would zero it
    std::unique_ptr<Block> block = std::move(blocks_.back());
    blocks_.pop_back();
    return block;
  }

  static void Give(std::unique_ptr<Block> block) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (blocks_.size() < kKept) blocks_.push_back(std::move(block));
  }

 private:
  static constexpr size_t kKept = 64;
  static inline std::mutex mutex_;
  static inline std::vector<std::unique_ptr<Block>> blocks_;
};

// Rows in blocks: growing never copies what is there.
template <typename Block>
class Rows {
 public:
  Rows() = default;
  Rows(const Rows&) = delete;
  Rows& operator=(const Rows&) = delete;
  ~Rows() {
    for (auto& block : blocks_) Spare<Block>::Give(std::move(block));
  }

  // The block and the index in it of a new row, for the caller to fill.
  Block& Add(size_t& row) {
    if (used_ == Block::kRows) {
      blocks_.push_back(Spare<Block>::Take());
      used_ = 0;
    }
    row = used_++;
    return *blocks_.back();
  }

  template <typename Array, typename T>
  Array Column(Napi::Env env, T (Block::*column)[Block::kRows]) const {
    const size_t size = blocks_.empty() ? 0 : (blocks_.size() - 1) * Block::kRows + used_;
    if (size == 0) return Array::New(env, 0);
    // Memory that Node does not zero first, as all of it is written here.
    const auto memory = Napi::Buffer<uint8_t>::New(env, size * sizeof(T));
    Array array = Array::New(env, size, memory.ArrayBuffer(), memory.ByteOffset());
    for (size_t block = 0, at = 0; at < size; block++, at += Block::kRows) {
      std::memcpy(array.Data() + at, (*blocks_[block]).*column, std::min(Block::kRows, size - at) * sizeof(T));
    }
    return array;
  }

 private:
  std::vector<std::unique_ptr<Block>> blocks_;
  size_t used_ = Block::kRows;
};

constexpr size_t kBlockEntries = 32;

// Do the entries of a whole block go on as first, first + step, first + 2 * step, …? Like Cuts below without a branch
// in the loop, so that the compiler makes vectors of it.
inline bool GoesOn(const uint64_t* p, uint64_t first, uint64_t step) {
  uint64_t differs = 0;
  if (step == 0) {
    for (size_t i = 0; i < kBlockEntries; i++) differs |= p[i] ^ first;
  } else {
    for (size_t i = 0; i < kBlockEntries; i++) differs |= p[i] ^ (first + i);
  }
  return differs == 0;
}

// A bit for each entry of a block that does not go on from the one before it; p[-1] is one too.
template <typename Runs>
inline uint32_t Cuts(const uint64_t* p) {
  static constexpr struct Bits {
    uint64_t bit[kBlockEntries] = {};
    constexpr Bits() {
      for (size_t i = 0; i < kBlockEntries; i++) bit[i] = uint64_t{1} << i;
    }
  } bits;
  uint64_t cuts = 0;
  for (size_t i = 0; i < kBlockEntries; i++) cuts |= Runs::Differs(p[i - 1], p[i]) != 0 ? bits.bit[i] : 0;
  return static_cast<uint32_t>(cuts);
}

class PageRuns {
 public:
  // What the next entry of a run has more: the next PFN after a present page, except where the reader may not see PFNs.
  static uint64_t Step(uint64_t entry) { return (entry >> 63) & static_cast<uint64_t>((entry & kFrameMask) != 0); }
  // Zero when `next` goes on from `entry`: the flags differ where adding carries out of the PFN.
  static uint64_t Differs(uint64_t entry, uint64_t next) {
    return ((next - entry) ^ Step(entry)) | ((next ^ entry) >> 55);
  }
  // Can the PFN grow by `n` without a carry?
  static bool HasRoom(uint64_t entry, uint64_t n) { return (entry & kFrameMask) + n <= kFrameMask; }

  void Add(uint64_t page, uint64_t count, uint64_t entry) {
    size_t row;
    PageBlock& block = rows_.Add(row);
    block.page[row] = ToDouble(page);
    block.count[row] = ToDouble(count);
    block.frame[row] = ToDouble(entry & kFrameMask);
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
  static uint64_t Step(uint64_t) { return 0; }
  static uint64_t Differs(uint64_t entry, uint64_t next) { return next ^ entry; }
  static bool HasRoom(uint64_t, uint64_t) { return true; }

  void Add(uint64_t page, uint64_t count, uint64_t entry) {
    size_t row;
    ValueBlock& block = rows_.Add(row);
    block.page[row] = ToDouble(page);
    block.count[row] = ToDouble(count);
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
    if (n == 0) return;
    if (!open_) {
      open_ = true;
      start_ = page;
      first_ = *entry;
    } else if (Runs::Differs(last_, *entry) != 0) {
      Cut(page, *entry);
    }
#ifdef PINSCOPE_AVX2
    if (kHasAvx2) {
      FeedAvx2(page, entry, n);
    } else {
      FeedRest(page, entry, n);
    }
#else
    FeedRest(page, entry, n);
#endif
    last_ = entry[n - 1];
    end_ = page + n;
  }

  // Closes the run in hand.
  void End() {
    if (open_) runs_.Add(start_, end_ - start_, first_);
    open_ = false;
  }

 private:
#ifdef PINSCOPE_AVX2
  __attribute__((target("avx2"))) void FeedAvx2(uint64_t page, const uint64_t* entry, size_t n) {
    FeedRest(page, entry, n);
  }
#endif

  // All but the first entry, which has been compared with its neighbour.
  __attribute__((always_inline)) void FeedRest(uint64_t page, const uint64_t* entry, size_t n) {
    size_t i = 1;
    // Looking at a whole block only pays where runs are long.
    bool even = true;
    for (; n - i >= kBlockEntries; i += kBlockEntries) {
      const uint64_t last = entry[i - 1];
      const uint64_t step = Runs::Step(last);
      if (even && Runs::HasRoom(last, kBlockEntries) && GoesOn(entry + i, last + step, step)) continue;
      // Finding the cuts first keeps branches that nobody can predict out of the loop.
      const uint32_t cuts = Cuts<Runs>(entry + i);
      for (uint32_t left = cuts; left != 0; left &= left - 1) {
        const int at = __builtin_ctz(left);
        Cut(page + i + at, entry[i + at]);
      }
      even = cuts == 0;
    }
    for (; i < n; i++) {
      if (Runs::Differs(entry[i - 1], entry[i]) != 0) Cut(page + i, entry[i]);
    }
  }

  void Cut(uint64_t page, uint64_t entry) {
    runs_.Add(start_, page - start_, first_);
    start_ = page;
    first_ = entry;
  }

  Runs& runs_;
  bool open_ = false;
  uint64_t start_ = 0;  // of the run in hand
  uint64_t end_ = 0;
  uint64_t first_ = 0;  // entry of it
  uint64_t last_ = 0;
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
