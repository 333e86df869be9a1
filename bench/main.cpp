// Benchmarks of every kernel and every whole-tensor operation; README.md says how to read them.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "contest.h"
#include "table.h"

namespace {

std::string cpu_model() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

std::string compiler() {
#ifdef __clang__
  return __VERSION__;
#else
  return std::string("GCC ") + __VERSION__;
#endif
}

// Takes --bytes=N, if it is there, out of the arguments; false if N is no size.
bool take_size(std::vector<char*>& arguments) {
  constexpr std::string_view option = "--bytes=";
  const auto found = std::ranges::find_if(
      arguments, [&](std::string_view argument) { return argument.starts_with(option); });
  if (found == arguments.end()) return true;
  const std::string_view number = std::string_view(*found).substr(option.size());
  std::size_t bytes = 0;
  const auto [end, error] = std::from_chars(number.begin(), number.end(), bytes);
  if (error != std::errc() || end != number.end() || bytes == 0 ||
      bytes % prunepack::bench::kSmallestSize != 0) {
    return false;
  }
  prunepack::bench::sizes() = {bytes};
  arguments.erase(found);
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  // What the command line says comes after, and so counts more.
  std::string time = "--benchmark_min_time=0.1";
  std::vector<char*> arguments{argv[0], time.data()};
  arguments.insert(arguments.end(), argv + 1, argv + argc);
  if (!take_size(arguments)) {
    std::cerr << "--bytes must be a multiple of " << prunepack::bench::kSmallestSize << '\n';
    return 2;
  }
  const bool own_format = std::none_of(argv, argv + argc, [](std::string_view argument) {
    return argument.starts_with("--benchmark_format");
  });
  int count = static_cast<int>(arguments.size());
  arguments.push_back(nullptr);

  benchmark::AddCustomContext("cpu_model", cpu_model());
  benchmark::AddCustomContext("compiler", compiler());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
  prunepack::bench::add_kernels();
  prunepack::bench::add_operations();
  prunepack::bench::add_products();
  prunepack::bench::Table table;
  benchmark::RunSpecifiedBenchmarks(own_format ? &table : nullptr);
  benchmark::Shutdown();
}
