# QEMU turns off the randomisation of addresses, or runs 32-bit programs, for a further attack.
# Must: personality(2) is locked and other architectures are refused.
# VM: taken
### qemu
fails setarch --addr-no-randomize true
