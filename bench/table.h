// How results are shown: one line each, all in the same columns.
#pragma once

#include <benchmark/benchmark.h>

namespace prunepack::bench {

class Table : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context& context) override;
  void ReportRuns(const std::vector<Run>& runs) override;
};

}  // namespace prunepack::bench
