#!/usr/bin/awk -f
# From what `cargo test --no-fail-fast` printed: a line for each target that failed, `suite test…`, by the suite's name in the target
# folder. Without tests where its list is not whole, for it did not end or its output is torn.
/^ +Running .*deps\/[a-z0-9_]+-[0-9a-f]+\)$/ {
  told()
  suite = $0
  sub(/.*deps\//, "", suite)
  sub(/-[0-9a-f]+\)$/, "", suite)
  has_ended = 0
}
/^failures:$/ { names = ""; count = 0; is_list = 1; next }
is_list && /^    [A-Za-z0-9_:]+$/ { names = names " " $1; count++; next }
/^test result: / {
  has_ended = 1
  is_list = 0
  failing = $0
  sub(/.* passed; /, "", failing)
  sub(/ failed.*/, "", failing)
  if (failing + 0 > 0) print suite (failing + 0 == count ? names : "")
  names = ""
  count = 0
}
/^error: could not compile/ { print "build" }
END { told() }
function told() {
  if (suite != "" && !has_ended) print suite
}
