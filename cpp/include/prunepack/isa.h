// Instruction sets the library has kernels for.
#pragma once

#include <cstdint>

namespace prunepack {

enum class Isa : std::uint8_t { scalar, neon, avx2, avx512 };

// Worst to best on each platform.
inline constexpr Isa kAllIsas[] = {Isa::scalar, Isa::neon, Isa::avx2, Isa::avx512};

const char* name(Isa isa) noexcept;

// True if this CPU and this operating system can run code built for `isa`.
bool cpu_has(Isa isa) noexcept;

// True if it can also run what was built for AVX-512 with dot products of bfloat16 and of int8.
bool cpu_has_avx512_dots() noexcept;

}  // namespace prunepack
