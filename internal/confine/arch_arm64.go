package confine

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// openCall is impossible: there is no open(2). Numbers from x32Bit on are denied.
const openCall = x32Bit
