// Counts cases, says which failed, and survives a kernel that touches what it must not.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "prunepack/dtype.h"
#include "prunepack/isa.h"

namespace prunepack::check {

struct Parameter {
  const char* name = nullptr;
  std::uint64_t value = 0;
};

// What is being compared. Put into words only if it fails.
struct Case {
  Dtype dtype;
  const char* input;
  std::array<Parameter, 5> parameters{};
};

class Report {
 public:
  Report();

  void begin(Isa isa, const char* family);
  void end();  // prints the family's line

  // A case passes if `run` neither faults nor leaves results that differ. `run` must own nothing:
  // it is left by a jump if it faults.
  template <class Run, class Same>
  void compare(const Case& what, const Run& run, const Same& same) {
    const char* fault = guarded([](const void* call) { (*static_cast<const Run*>(call))(); }, &run);
    if (fault == nullptr && same()) {
      ++passed_;
    } else {
      fail(what, fault != nullptr ? fault : "differs");
    }
  }

  std::size_t passed() const { return all_passed_; }
  std::size_t failed() const { return all_failed_; }

 private:
  // The signal that ended the call, or nullptr.
  static const char* guarded(void (*call)(const void*), const void* context);
  void fail(const Case& what, const char* why);

  const char* isa_ = "";
  const char* family_ = "";
  std::size_t passed_ = 0, failed_ = 0;
  std::size_t all_passed_ = 0, all_failed_ = 0;
};

}  // namespace prunepack::check
