//! Numbers and texts in a packet. Whatever is missing is `None`.

/// What of a packet has not been read yet.
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.little_endian(2).and_then(|number| number.try_into().ok())
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.little_endian(4).and_then(|number| number.try_into().ok())
    }

    fn little_endian(&mut self, length: usize) -> Option<u64> {
        let bytes = self.take(length)?;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// A number of one to nine bytes.
    pub fn number(&mut self) -> Option<u64> {
        match self.u8()? {
            small @ 0..=0xfa => Some(small.into()),
            0xfc => self.little_endian(2),
            0xfd => self.little_endian(3),
            0xfe => self.little_endian(8),
            _ => None,
        }
    }

    /// A text with its length, or NULL.
    pub fn value(&mut self) -> Option<Option<Vec<u8>>> {
        if self.0.first() == Some(&0xfb) {
            self.take(1)?;
            return Some(None);
        }
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length).map(|bytes| Some(bytes.to_vec()))
    }

    /// A text that ends at a zero, or with the packet.
    pub fn text(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == 0);
        let text = &self.0[..end.unwrap_or(self.0.len())];
        self.0 = end.map_or(&[], |end| &self.0[end + 1..]);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_not_believed() {
        assert_eq!(Fields(&[3, b'a', b'b', b'c']).value(), Some(Some(b"abc".to_vec())));
        assert_eq!(Fields(&[0xfb]).value(), Some(None));
        for bytes in
            [&[4, b'a', b'b', b'c'][..], &[0xfe, 255, 255, 255, 255, 255, 255, 255, 255, 1], &[0xfc, 1], &[0xff], &[]]
        {
            assert_eq!(Fields(bytes).value(), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_text_may_end_with_its_packet() {
        let mut fields = Fields(b"one\0two");
        assert_eq!((fields.text(), fields.text(), fields.text()), (&b"one"[..], &b"two"[..], &b""[..]));
    }
}
