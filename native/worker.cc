#include "worker.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <optional>

namespace pinscope {

namespace {

// Progress is told this often in all, or oftener where that would be seldom.
constexpr uint64_t kProgressSteps = 256;
constexpr uint64_t kProgressUnits = uint64_t{1} << 22;

std::string ErrorName(int number) {
#ifdef __GLIBC__
  if (const char* name = strerrorname_np(number)) return name;
#endif
  return "E" + std::to_string(number);
}

}  // namespace

Napi::Error ToJsError(Napi::Env env, const SystemError& failure) {
  const std::string code = ErrorName(failure.number);
  Napi::Error error =
      Napi::Error::New(env, code + ": " + std::strerror(failure.number) + ", " + failure.call + " '" + failure.path + "'");
  error.Set("errno", Napi::Number::New(env, failure.number));
  error.Set("code", Napi::String::New(env, code));
  error.Set("syscall", Napi::String::New(env, failure.call));
  error.Set("path", Napi::String::New(env, failure.path));
  return error;
}

// The queue holds one item: it says "look again", and what is looked at is always the newest.
void CallProgress(Napi::Env env, Napi::Function callback, std::shared_ptr<CallState>* context, void*) {
  if (env == nullptr || callback.IsEmpty()) return;  // the environment is going away
  CallState& state = **context;
  if (state.settled) return;
  const uint64_t done = state.done.load(std::memory_order_relaxed);
  if (done <= state.told) return;
  state.told = done;
  callback.Call({Napi::Number::New(env, static_cast<double>(done)),
                 Napi::Number::New(env, static_cast<double>(state.total.load(std::memory_order_relaxed)))});
}

void Caller::Begin(uint64_t total) {
  state_.total.store(total, std::memory_order_relaxed);
  quantum_ = std::min(total / kProgressSteps + 1, kProgressUnits);
  next_ = quantum_;
}

void Caller::Step(uint64_t done) {
  if (state_.cancelled.load(std::memory_order_relaxed)) throw Cancelled();
  if (!reports_ || done < next_) return;
  next_ = done + quantum_;
  state_.done.store(done, std::memory_order_relaxed);
  // After napi_closing the function may not be touched again, not even to release it.
  if (progress_.NonBlockingCall() == napi_closing) reports_ = false;
}

class Call : public Napi::AsyncWorker {
 public:
  Call(Napi::Env env, std::unique_ptr<Job> job, std::shared_ptr<CallState> state, std::optional<int64_t> id,
       Napi::Value progress)
      : Napi::AsyncWorker(env, "pinscope"),
        deferred_(Napi::Promise::Deferred::New(env)),
        job_(std::move(job)),
        state_(std::move(state)),
        caller_(*state_),
        id_(id) {
    if (!progress.IsFunction()) return;
    Napi::Function function = progress.As<Napi::Function>();
    callback_ = Napi::Persistent(function);
    auto context = std::make_unique<std::shared_ptr<CallState>>(state_);
    caller_.progress_ = ProgressFunction::New(
        env, function, "pinscope", 1, 1, context.get(),
        [](Napi::Env, void*, std::shared_ptr<CallState>* context) { delete context; });
    context.release();
    caller_.reports_ = true;
  }

  Napi::Promise Promise() const { return deferred_.Promise(); }

  // Node closes a pending thread-safe function with its environment, so the pool thread owns the only claim to it.
  void Execute() override {
    try {
      caller_.Step(0);
      job_->Run(caller_);
    } catch (const SystemError& error) {
      failure_ = error;
    } catch (const Caller::Cancelled&) {
      failure_ = job_->Failure(ECANCELED);
    } catch (const std::bad_alloc&) {
      failure_ = job_->Failure(ENOMEM);
    } catch (const std::exception& error) {
      SetError(error.what());
    } catch (...) {
      SetError("pinscope");
    }
    if (caller_.reports_) caller_.progress_.Release();
  }

  void OnWorkComplete(Napi::Env env, napi_status status) override {
    // Execute never ran: nobody else will let go of the function.
    if (status == napi_cancelled && caller_.reports_) caller_.progress_.Release();
    Napi::AsyncWorker::OnWorkComplete(env, status);
  }

  void OnOK() override {
    Settle();
    try {
      // An abort that came after the last step still counts, so that a caller who aborted never sees a result.
      if (!failure_ && state_->cancelled.load()) failure_ = job_->Failure(ECANCELED);
      if (failure_) {
        deferred_.Reject(ToJsError(Env(), *failure_).Value());
        return;
      }
      TellEnd();
      deferred_.Resolve(job_->Result(Env()));
    } catch (const Napi::Error& error) {
      deferred_.Reject(error.Value());
    } catch (const std::bad_alloc&) {
      deferred_.Reject(ToJsError(Env(), job_->Failure(ENOMEM)).Value());
    }
  }

  void OnError(const Napi::Error& error) override {
    Settle();
    deferred_.Reject(error.Value());
  }

 private:
  void Settle() {
    state_->settled = true;
    auto* table = Env().GetInstanceData<CallTable>();
    if (id_ && table != nullptr) table->erase(*id_);
  }

  void TellEnd() {
    const uint64_t total = state_->total.load();
    if (callback_.IsEmpty() || state_->told >= total) return;
    const Napi::Number end = Napi::Number::New(Env(), static_cast<double>(total));
    callback_.Call({end, end});
  }

  Napi::Promise::Deferred deferred_;
  std::unique_ptr<Job> job_;
  std::shared_ptr<CallState> state_;
  Caller caller_;
  std::optional<int64_t> id_;
  Napi::FunctionReference callback_;
  std::optional<SystemError> failure_;
};

Napi::Value Queue(Napi::Env env, std::unique_ptr<Job> job, Napi::Value id, Napi::Value progress) {
  if (!id.IsUndefined() && !id.IsNumber()) throw Napi::TypeError::New(env, "id: number or undefined");
  if (!progress.IsUndefined() && !progress.IsFunction()) {
    throw Napi::TypeError::New(env, "onProgress: function or undefined");
  }
  auto state = std::make_shared<CallState>();
  std::optional<int64_t> key;
  auto* table = env.GetInstanceData<CallTable>();
  if (id.IsNumber()) {
    key = id.As<Napi::Number>().Int64Value();
    if (!table->emplace(*key, state).second) throw Napi::TypeError::New(env, "id: in use");
  }
  try {
    auto call = std::make_unique<Call>(env, std::move(job), state, key, progress);
    const Napi::Promise promise = call->Promise();
    call->Queue();
    call.release();  // deletes itself when it has settled
    return promise;
  } catch (...) {
    if (key) table->erase(*key);
    throw;
  }
}

void Cancel(Napi::Env env, int64_t id) {
  auto* table = env.GetInstanceData<CallTable>();
  const auto found = table->find(id);
  if (found != table->end()) found->second->cancelled.store(true);
}

}  // namespace pinscope
