// Which instruction sets this machine can run. The only file that asks the CPU.
//
// cpp/isa.cmake defines PRUNEPACK_CPU_HAS_<ISA> for each ISA it builds, as a test of the very
// features its kernels were compiled with. The compiler's builtin behind it also checks that the
// operating system saves the wide registers.
#include "prunepack/isa.h"

#ifdef __x86_64__
#include <cpuid.h>
#endif

namespace prunepack {
namespace {

#ifdef __x86_64__
// Clang before 19 has no builtin for these two (Intel SDM, volume 2, CPUID).
[[maybe_unused]] bool cpu_has_f16c() noexcept {
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

[[maybe_unused]] bool cpu_has_lzcnt() noexcept {
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_LZCNT) != 0;
}
#endif

}  // namespace

const char* name(Isa isa) noexcept {
  switch (isa) {
    case Isa::scalar:
      return "scalar";
    case Isa::neon:
      return "neon";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
  }
  return "unknown";
}

bool cpu_has(Isa isa) noexcept {
  switch (isa) {
    case Isa::scalar:
      return true;
#ifdef PRUNEPACK_CPU_HAS_NEON
    case Isa::neon:
      return PRUNEPACK_CPU_HAS_NEON;
#endif
#ifdef PRUNEPACK_CPU_HAS_AVX2
    case Isa::avx2:
      return PRUNEPACK_CPU_HAS_AVX2;
#endif
#ifdef PRUNEPACK_CPU_HAS_AVX512
    case Isa::avx512:
      return PRUNEPACK_CPU_HAS_AVX512;
#endif
    default:
      return false;
  }
}

bool cpu_has_avx512_dots() noexcept {
#ifdef PRUNEPACK_CPU_HAS_AVX512DOT
  return PRUNEPACK_CPU_HAS_AVX512DOT;
#else
  return false;
#endif
}

}  // namespace prunepack
