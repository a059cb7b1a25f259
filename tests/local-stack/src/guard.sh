# Runs a server for an owner and never leaves it behind. Usage: sh -c "$(cat guard.sh)" guard SIGNAL FILES... -- COMMAND...
#
# Standard input is a pipe whose other end only the owner has. The owner writes a word into it to have the server stopped
# with SIGNAL; when the owner dies, however it dies, the pipe ends without a word: the server is stopped all the same and
# FILES are removed, because nobody else is left to do it.
signal=$1
shift
count=0
for argument in "$@"; do
  [ "$argument" = -- ] && break
  count=$((count + 1))
done
files=$count

exec 3<&0 </dev/null
# The server's arguments are what follows the `--`.
(
  shift $((files + 1))
  exec 3<&-
  exec "$@"
) &
server=$!
# What is in the log is the server's, not the shell's "Killed".
exec >/dev/null 2>&1

(
  read -r word <&3
  [ "$word" = gone ] && exit 0
  kill -s "$signal" "$server"
  [ -n "$word" ] && exit 0
  while kill -0 "$server"; do sleep 0.1; done
  cd /
  for file in "$@"; do
    [ "$file" = -- ] && break
    rm -rf -- "$file"
  done
) &
exec 3<&-

wait "$server"
