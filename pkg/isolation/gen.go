package isolation

//go:generate go tool bpf2go -cc clang-19 -target bpfel -go-package isolation -output-stem edgenet -type state -type endpoint -type address_key -type address -type node -type verdict_key -type verdict -type interval -type flow_key -type flow -type counters -type reason -type delivery -type endpoint_flag edgenet ../../bpf/edgenet.c -- -O2 -g -mcpu=v3 -Wall -Wextra -Werror -Wno-missing-field-initializers -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include/aarch64-linux-gnu
