package confine

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_X86_64

// openCall is open(2).
const openCall = unix.SYS_OPEN
