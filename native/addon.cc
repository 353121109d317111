// The exports: arguments are checked and copied here, before any work; index.ts is the only caller.
#include <algorithm>
#include <climits>
#include <cmath>
#include <cstring>
#include <new>

#include "jobs.h"

namespace pinscope {

namespace {

constexpr double kMaxSafe = 9007199254740991;  // 2^53 - 1
constexpr uint64_t kMaxBytes = uint64_t{1} << 30;
constexpr int kMaxPacketBytes = 1 << 20;
constexpr int kMaxTimeoutMs = 60'000;

[[noreturn]] void ThrowType(Napi::Env env, const std::string& message) {
  Napi::TypeError error = Napi::TypeError::New(env, message);
  error.Set("code", "ERR_INVALID_ARG_VALUE");
  throw error;
}

[[noreturn]] void ThrowRange(Napi::Env env, const std::string& message) {
  Napi::RangeError error = Napi::RangeError::New(env, message);
  error.Set("code", "ERR_OUT_OF_RANGE");
  throw error;
}

bool IsWhole(double number, double low, double high) {
  return number >= low && number <= high && std::floor(number) == number;  // NaN fails the first
}

int ToInt(const Napi::Value& value, const char* name, int low, int high = INT_MAX) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  if (!IsWhole(number, low, high)) {
    const std::string end = high == INT_MAX ? "2^31-1" : std::to_string(high);
    ThrowType(value.Env(), std::string(name) + ": whole number from " + std::to_string(low) + " to " + end);
  }
  return static_cast<int>(number);
}

std::string ToString(const Napi::Value& value, const char* name) {
  if (!value.IsString()) ThrowType(value.Env(), std::string(name) + ": string");
  std::string text = value.As<Napi::String>().Utf8Value();
  if (text.find('\0') != std::string::npos) ThrowType(value.Env(), std::string(name) + ": string without NUL");
  return text;
}

template <typename Array>
Array ToArray(const Napi::Value& value, napi_typedarray_type type, const char* name, const char* expected) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) {
    ThrowType(value.Env(), std::string(name) + ": " + expected);
  }
  return value.As<Array>();
}

std::vector<uint64_t> ToWhole(const Napi::Value& value, const char* name) {
  const auto array = ToArray<Napi::Float64Array>(value, napi_float64_array, name, "Float64Array");
  std::vector<uint64_t> whole(array.ElementLength());
  const double* data = array.Data();
  for (size_t i = 0; i < whole.size(); i++) {
    if (!IsWhole(data[i], 0, kMaxSafe)) {
      ThrowType(value.Env(), std::string(name) + "[" + std::to_string(i) + "]: whole number from 0 to 2^53-1");
    }
    whole[i] = static_cast<uint64_t>(data[i]);
  }
  return whole;
}

EntryRanges ToEntryRanges(const Napi::Value& first, const Napi::Value& count) {
  EntryRanges ranges{ToWhole(first, "first"), ToWhole(count, "count")};
  if (ranges.first.size() != ranges.count.size()) ThrowType(first.Env(), "first, count: equal lengths");
  uint64_t total = 0;
  for (size_t i = 0; i < ranges.count.size(); i++) {
    total += ranges.count[i];
    if (static_cast<double>(total) > kMaxSafe || static_cast<double>(ranges.first[i] + ranges.count[i]) > kMaxSafe) {
      ThrowRange(first.Env(), "count[" + std::to_string(i) + "]: sums up to 2^53-1");
    }
  }
  return ranges;
}

std::string FdPath(int fd) { return "fd " + std::to_string(fd); }

using MakeRuns = std::unique_ptr<Job> (*)(UniqueFd, std::string, EntryRanges);

// (fd, first, count, id, onProgress)
template <MakeRuns Make>
Napi::Value Runs(const Napi::CallbackInfo& info) {
  const int fd = ToInt(info[0], "fd", 0);
  EntryRanges ranges = ToEntryRanges(info[1], info[2]);
  return Queue(info.Env(), Make(Duplicate(fd), FdPath(fd), std::move(ranges)), info[3], info[4]);
}

// (fd, offset, length, id, onProgress, into)
Napi::Value Bytes(const Napi::CallbackInfo& info) {
  const int fd = ToInt(info[0], "fd", 0);
  const auto offset = ToArray<Napi::BigUint64Array>(info[1], napi_biguint64_array, "offset", "BigUint64Array");
  const auto length = ToArray<Napi::Uint32Array>(info[2], napi_uint32_array, "length", "Uint32Array");
  if (offset.ElementLength() != length.ElementLength()) ThrowType(info.Env(), "offset, length: equal lengths");
  ByteRanges ranges;
  ranges.offset.assign(offset.Data(), offset.Data() + offset.ElementLength());
  ranges.length.assign(length.Data(), length.Data() + length.ElementLength());
  uint64_t total = 0;
  for (const uint32_t bytes : ranges.length) total += bytes;
  if (total > kMaxBytes) ThrowRange(info.Env(), "length: sum up to 2^30");
  UniqueFd copy = Duplicate(fd);
  Napi::Uint8Array data = info[5].IsUndefined()
                              ? Napi::Uint8Array()
                              : ToArray<Napi::Uint8Array>(info[5], napi_uint8_array, "into", "Uint8Array or undefined");
  if (data.IsEmpty() || data.ElementLength() < total) {
    data = Napi::Uint8Array::New(info.Env(), total);
  } else {
    data = Napi::Uint8Array::New(info.Env(), total, data.ArrayBuffer(), data.ByteOffset());
  }
  return Queue(info.Env(), ReadBytes(std::move(copy), FdPath(fd), std::move(ranges), data), info[3], info[4]);
}

// (directory, prefixes, id, onProgress)
Napi::Value Fds(const Napi::CallbackInfo& info) {
  std::string directory = ToString(info[0], "directory");
  if (!info[1].IsArray()) ThrowType(info.Env(), "prefixes: array of strings");
  const auto array = info[1].As<Napi::Array>();
  std::vector<std::string> prefixes;
  for (uint32_t i = 0; i < array.Length(); i++) prefixes.push_back(ToString(array.Get(i), "prefixes"));
  return Queue(info.Env(), ListFds(std::move(directory), std::move(prefixes)), info[2], info[3]);
}

Napi::Value OpenPidfd(const Napi::CallbackInfo& info) {
  const Napi::Value none = info.Env().Undefined();
  return Queue(info.Env(), PidfdOpen(ToInt(info[0], "pid", 1)), none, none);
}

Napi::Value GetPidfdFd(const Napi::CallbackInfo& info) {
  const Napi::Value none = info.Env().Undefined();
  const int pidfd = ToInt(info[0], "pidfd", 0);
  const int target = ToInt(info[1], "targetFd", 0);
  return Queue(info.Env(), PidfdGetfd(Duplicate(pidfd), target), none, none);
}

Napi::Value GetFdSeals(const Napi::CallbackInfo& info) {
  const Napi::Value none = info.Env().Undefined();
  const int fd = ToInt(info[0], "fd", 0);
  return Queue(info.Env(), GetSeals(Duplicate(fd), FdPath(fd)), none, none);
}

Napi::Value MakeSocketPair(const Napi::CallbackInfo& info) {
  Napi::Array result = Napi::Array::New(info.Env(), 2);
  auto [ours, theirs] = SocketPair();
  result.Set(uint32_t{0}, Napi::Number::New(info.Env(), ours.get()));
  result.Set(uint32_t{1}, Napi::Number::New(info.Env(), theirs.get()));
  ours.release();
  theirs.release();
  return result;
}

// (fd, data, timeoutMs)
Napi::Value Send(const Napi::CallbackInfo& info) {
  const int fd = ToInt(info[0], "fd", 0);
  const auto data = ToArray<Napi::Uint8Array>(info[1], napi_uint8_array, "data", "Uint8Array");
  const int timeout_ms = ToInt(info[2], "timeoutMs", 0, kMaxTimeoutMs);
  SendPacket(fd, {data.Data(), data.Data() + data.ElementLength()}, timeout_ms, FdPath(fd));
  return info.Env().Undefined();
}

// (fd, maxBytes, timeoutMs)
Napi::Value Receive(const Napi::CallbackInfo& info) {
  const int fd = ToInt(info[0], "fd", 0);
  const int max_bytes = ToInt(info[1], "maxBytes", 1, kMaxPacketBytes);
  const int timeout_ms = ToInt(info[2], "timeoutMs", 0, kMaxTimeoutMs);
  Packet packet = ReceivePacket(fd, static_cast<size_t>(max_bytes), timeout_ms, FdPath(fd));
  Napi::Uint8Array data = Napi::Uint8Array::New(info.Env(), packet.data.size());
  std::copy(packet.data.begin(), packet.data.end(), data.Data());
  Napi::Array fds = Napi::Array::New(info.Env(), packet.fds.size());
  for (size_t i = 0; i < packet.fds.size(); i++) {
    fds.Set(static_cast<uint32_t>(i), Napi::Number::New(info.Env(), packet.fds[i].get()));
  }
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("data", data);
  result.Set("fds", fds);
  // Nothing can fail any more: they are JS's now.
  for (UniqueFd& owned : packet.fds) owned.release();
  return result;
}

Napi::Value CancelCall(const Napi::CallbackInfo& info) {
  if (!info[0].IsNumber()) ThrowType(info.Env(), "id: number");
  Cancel(info.Env(), info[0].As<Napi::Number>().Int64Value());
  return info.Env().Undefined();
}

using Function = Napi::Value (*)(const Napi::CallbackInfo&);

// No other exception than JS's own may leave.
template <Function F>
Napi::Value Guarded(const Napi::CallbackInfo& info) {
  try {
    return F(info);
  } catch (const SystemError& error) {
    throw ToJsError(info.Env(), error);
  } catch (const std::bad_alloc&) {
    throw ToJsError(info.Env(), SystemError(ENOMEM, "malloc", ""));
  }
}

template <Function F>
void Export(Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New(exports.Env(), &Guarded<F>, name));
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new CallTable);
  Export<&Runs<&ReadPageRuns>>(exports, "readPageRuns");
  Export<&Runs<&ReadValueRuns>>(exports, "readValueRuns");
  Export<&Bytes>(exports, "readBytes");
  Export<&Fds>(exports, "listFds");
  Export<&OpenPidfd>(exports, "pidfdOpen");
  Export<&GetPidfdFd>(exports, "pidfdGetfd");
  Export<&GetFdSeals>(exports, "getSeals");
  Export<&MakeSocketPair>(exports, "socketPair");
  Export<&Send>(exports, "sendPacket");
  Export<&Receive>(exports, "receivePacket");
  Export<&CancelCall>(exports, "cancel");
  return exports;
}

}  // namespace

}  // namespace pinscope

static Napi::Object InitModule(Napi::Env env, Napi::Object exports) { return pinscope::Init(env, exports); }

NODE_API_MODULE(pinscope, InitModule)
