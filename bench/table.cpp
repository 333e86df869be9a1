#include "table.h"

#include <iomanip>
#include <iostream>
#include <string>
#include <string_view>

namespace prunepack::bench {
namespace {

constexpr int kNameWidth = 72;

// benchmark's own ending for clocks that it did not read itself; here that is all of them.
std::string short_name(std::string name) {
  constexpr std::string_view ending = "/manual_time";
  const std::size_t at = name.find(ending);
  return at == std::string::npos ? name : name.erase(at, ending.size());
}

// A counter, or nothing where a benchmark does not have it.
void put(std::ostream& out, const benchmark::UserCounters& counters, const char* name, int width) {
  const auto counter = counters.find(name);
  out << std::setw(width);
  if (counter == counters.end()) {
    out << "";
  } else {
    out << counter->second.value;
  }
}

}  // namespace

bool Table::ReportContext(const Context& context) {
  PrintBasicContext(&GetErrorStream(), context);
  std::ostream& out = GetOutputStream();
  out << std::left << std::setw(kNameWidth) << "benchmark" << std::right << std::setw(11)
      << "time us" << std::setw(8) << "GB/s";
  for (const char* title : {"xREAD", "xMEMCPY", "xDENSE", "p10", "p90", "speedup"}) {
    out << std::setw(9) << title;
  }
  out << std::setw(13) << "reference's" << std::setw(8) << "pairs" << std::endl;
  return true;
}

void Table::ReportRuns(const std::vector<Run>& runs) {
  std::ostream& out = GetOutputStream();
  for (const Run& run : runs) {
    out << std::left << std::setw(kNameWidth) << short_name(run.benchmark_name()) << std::right;
    if (run.error_occurred) {
      out << "  " << run.error_message << std::endl;
      continue;
    }
    out << std::fixed << std::setprecision(1) << std::setw(11) << run.GetAdjustedRealTime()
        << std::setprecision(2);
    put(out, run.counters, "GB/s", 8);
    out << std::setprecision(3);
    for (const char* name : {"xREAD", "xMEMCPY", "xDENSE", "p10", "p90", "speedup"}) {
      put(out, run.counters, name, 9);
    }
    put(out, run.counters, "reference_speedup", 13);
    out << std::setw(8) << run.iterations << std::endl;
  }
}

}  // namespace prunepack::bench
