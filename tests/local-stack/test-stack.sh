# The command of `make test-stack`: says how to use the servers that run as long as it does. Its argument is the folder with
# the functions' binaries.
set -eu
FUNCTIONS_DIR=$1
variables="TEST_DATABASE_URL TEST_SERVICE_DATABASE_URL TEST_TEMPLATE_DATABASE TEST_LOGS_ENDPOINT FUNCTIONS_DIR"
file=.local/test-env
trap 'rm -f "$file"; exit 0' INT TERM
mkdir -p .local
for name in $variables; do
  eval "value=\$$name"
  printf "export %s='%s'\n" "$name" "$value"
done >"$file"

cat <<END

The servers of the tests are running. In another terminal of this folder:

. $file
cargo test --locked --profile local -p flag-schedules-tests -- PART_OF_A_NAME

In an editor: the variables of the runs of tests, such as rust-analyzer.runnables.extraEnv of VS Code:

{
END
separator=
for name in $variables; do
  eval "value=\$$name"
  printf '%s  "%s": "%s"' "$separator" "$name" "$value"
  separator=",
"
done
printf '\n}\n\nCtrl-C ends the servers.\n'
while :; do sleep 1; done
