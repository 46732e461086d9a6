//! Recognises what else may be on a device, so that nothing of value is overwritten.

/// How much of a device's front is looked at, in bytes.
pub(crate) const LOOK_AT: usize = 128 * 1024;

/// Offset, bytes there, and what they are the sign of.
const SIGNS: [(usize, &[u8], &str); 17] = [
    (0x438, &[0x53, 0xef], "an ext2, ext3 or ext4 file system"),
    (0, b"XFSB", "an XFS file system"),
    (0x1_0040, b"_BHRfS_M", "a Btrfs file system"),
    (0x400, &[0x10, 0x20, 0xf5, 0xf2], "an F2FS file system"),
    (3, b"NTFS    ", "an NTFS file system"),
    (0x36, b"FAT1", "a FAT file system"),
    (0x52, b"FAT32", "a FAT file system"),
    (0x8001, b"CD001", "an ISO 9660 file system"),
    (0, b"hsqs", "a SquashFS file system"),
    (4086, b"SWAPSPACE2", "Linux swap space"),
    (0, b"LUKS\xba\xbe", "an encrypted volume (LUKS)"),
    (512, b"LABELONE", "an LVM physical volume"),
    (4096, &[0xfc, 0x4e, 0x2b, 0xa9], "a member of a Linux RAID array"),
    (512, b"EFI PART", "a GPT partition table"),
    (4096, b"EFI PART", "a GPT partition table"),
    (0x1018, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca", "a Bcache device"),
    (510, &[0x55, 0xaa], "an MBR partition table or boot sector"),
];

/// What the front of a device holds; `None` when it is all zeros.
pub(crate) fn recognise(front: &[u8]) -> Option<&'static str> {
    let has = |at: usize, sign: &[u8]| front.get(at..at + sign.len()) == Some(sign);
    if let Some((_, _, name)) = SIGNS.iter().find(|(at, sign, _)| has(*at, sign)) {
        return Some(name);
    }
    front.iter().any(|&byte| byte != 0).then_some("data of unknown kind")
}
