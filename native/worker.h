#pragma once

#include <napi.h>

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

namespace pinscope {

// A failed system call: what a call rejects with.
class SystemError : public std::exception {
 public:
  SystemError(int number, const char* call, std::string path) : number(number), call(call), path(std::move(path)) {}
  const char* what() const noexcept override { return call; }

  int number;
  const char* call;
  std::string path;
};

// The JS error of it: message, errno, code, syscall, path.
Napi::Error ToJsError(Napi::Env env, const SystemError& error);

// What is shared between a running call and its owner on the JS thread.
struct CallState {
  std::atomic<bool> cancelled{false};
  std::atomic<uint64_t> done{0};
  std::atomic<uint64_t> total{0};
  // JS thread only.
  uint64_t told = 0;
  bool settled = false;
};

void CallProgress(Napi::Env env, Napi::Function callback, std::shared_ptr<CallState>* state, void* data);
using ProgressFunction = Napi::TypedThreadSafeFunction<std::shared_ptr<CallState>, void, &CallProgress>;

// What a job may ask of the call it runs in, from the pool thread.
class Caller {
 public:
  explicit Caller(CallState& state) : state_(state) {}

  // Says how many units there are to do.
  void Begin(uint64_t total);
  // Throws Cancelled after a cancel, else says how many units are done. Cheap: meant for once a chunk.
  void Step(uint64_t done);

  struct Cancelled {};

 private:
  friend class Call;
  CallState& state_;
  ProgressFunction progress_;
  bool reports_ = false;
  uint64_t quantum_ = 1;
  uint64_t next_ = 0;
};

// One unit of queued work.
class Job {
 public:
  // `call` and `path` are what an error that has no better place is about.
  Job(const char* call, std::string path) : call_(call), path_(std::move(path)) {}
  virtual ~Job() = default;

  // On a pool thread: no JS value may be touched. Failure is a SystemError.
  virtual void Run(Caller& caller) = 0;
  // On the JS thread, after Run.
  virtual Napi::Value Result(Napi::Env env) = 0;

  SystemError Failure(int number) const { return SystemError(number, call_, path_); }
  const std::string& path() const { return path_; }

 private:
  const char* call_;
  std::string path_;
};

// Calls that can be cancelled, by the number that JS gave them. One an environment.
using CallTable = std::unordered_map<int64_t, std::shared_ptr<CallState>>;

// Queues `job` and returns the promise of its result. `id` is undefined or a number that no call in flight has,
// `progress` undefined or a function; a TypeError is thrown for anything else.
Napi::Value Queue(Napi::Env env, std::unique_ptr<Job> job, Napi::Value id, Napi::Value progress);

// Makes the call `id` reject with ECANCELED at its next step; does nothing when it is over.
void Cancel(Napi::Env env, int64_t id);

}  // namespace pinscope
