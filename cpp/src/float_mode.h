// Floating-point arithmetic as it is by default, whatever the caller has set: rounding to nearest,
// subnormals kept. A program may have set its threads otherwise (torch.set_flush_denormal does).
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace prunepack {

// While it lives, the default holds for the thread that made it.
class DefaultFloatMode {
 public:
  DefaultFloatMode() : found_(get()) { set(kDefault); }
  DefaultFloatMode(const DefaultFloatMode&) = delete;
  DefaultFloatMode& operator=(const DefaultFloatMode&) = delete;
  ~DefaultFloatMode() { set(found_); }

 private:
#if defined(__x86_64__)
  using Mode = unsigned;
  static constexpr Mode kDefault = 0x1f80;  // MXCSR: all exceptions masked, nothing else
  static Mode get() { return _mm_getcsr(); }
  static void set(Mode mode) { _mm_setcsr(mode); }
#elif defined(__aarch64__)
  using Mode = std::uint64_t;
  static constexpr Mode kDefault = 0;  // FPCR
  static Mode get() {
    Mode mode;
    asm volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
  }
  static void set(Mode mode) { asm volatile("msr fpcr, %0" : : "r"(mode)); }
#else
  using Mode = int;
  static constexpr Mode kDefault = 0;
  static Mode get() { return kDefault; }
  static void set(Mode) {}
#endif

  Mode found_;
};

}  // namespace prunepack
