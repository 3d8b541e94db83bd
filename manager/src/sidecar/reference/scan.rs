//! Where a WebM begins, and where its clusters do, in a run of bytes. Pure.
//!
//! The images append what the browser gives them, chunk by chunk, and begin again with a second header where they try again; chunks
//! may even lie in the wrong order. So nothing is parsed: the marks are looked for, each with enough around it that compressed
//! pictures do not hold it by chance (RFC 8794 and RFC 9559 have the numbers).

/// The EBML header's id.
const HEADER: [u8; 4] = [0x1a, 0x45, 0xdf, 0xa3];
/// A cluster's id.
const CLUSTER: [u8; 4] = [0x1f, 0x43, 0xb6, 0x75];
/// A header with its document type has about 40 bytes.
pub(super) const HEADER_BYTES: usize = 64;

/// True where these are the first bytes of a WebM or Matroska file.
pub(super) fn is_header(bytes: &[u8]) -> bool {
    let is_type = |window: &[u8]| window.starts_with(b"webm") || window.starts_with(b"matroska");
    let head = bytes.get(..bytes.len().min(HEADER_BYTES)).unwrap_or_default();
    // 0x4282 is the document type's id; a byte of length follows.
    head.starts_with(&HEADER) && head.windows(11).any(|at| at.starts_with(&[0x42, 0x82]) && is_type(&at[3..]))
}

/// Where the next header begins, at `from` or after it.
pub(super) fn next_header(bytes: &[u8], from: usize) -> Option<usize> {
    marks(bytes, HEADER, from).find(|at| bytes.get(*at..).is_some_and(is_header))
}

/// Where the first cluster begins.
pub(super) fn first_cluster(bytes: &[u8]) -> Option<usize> {
    clusters(bytes).next()
}

/// Where the last cluster begins.
pub(super) fn last_cluster(bytes: &[u8]) -> Option<usize> {
    clusters(bytes).last()
}

fn clusters(bytes: &[u8]) -> impl Iterator<Item = usize> {
    // Behind a length of one to eight bytes comes its timestamp (0xe7), or a checksum of four bytes (0xbf) before that.
    marks(bytes, CLUSTER, 0).filter(|at| {
        let length = bytes.get(at + 4).map_or(0, |first| first.leading_zeros() as usize + 1);
        let first = bytes.get(at + 4 + length..).unwrap_or_default();
        first.starts_with(&[0xe7]) || first.starts_with(&[0xbf, 0x84])
    })
}

fn marks(bytes: &[u8], mark: [u8; 4], from: usize) -> impl Iterator<Item = usize> {
    let rest = bytes.get(from..).unwrap_or_default();
    rest.windows(4).enumerate().filter(move |(_, window)| *window == mark).map(move |(at, _)| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        bytes.extend([0x9f, 0x42, 0x86, 0x81, 0x01, 0x42, 0x82, 0x84]);
        bytes.extend(b"webm\x42\x87\x81\x04");
        bytes
    }

    fn cluster(length: &[u8]) -> Vec<u8> {
        [&CLUSTER[..], length, &[0xe7, 0x81, 0x00]].concat()
    }

    #[test]
    fn a_second_header_is_found_and_its_id_alone_is_none() {
        let mut bytes = header();
        bytes.extend(HEADER);
        bytes.extend([7; 100]);
        let second = bytes.len();
        bytes.extend(header());
        assert!(is_header(&bytes));
        assert_eq!((next_header(&bytes, 0), next_header(&bytes, 1)), (Some(0), Some(second)));
    }

    #[test]
    fn clusters_of_known_and_unknown_length_are_found() {
        let unknown = [0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let bytes =
            [header(), cluster(&unknown), vec![9; 10], CLUSTER.to_vec(), vec![0x10; 9], cluster(&[0x10, 0, 0, 9])].concat();
        assert_eq!(first_cluster(&bytes), Some(header().len()));
        assert_eq!(last_cluster(&bytes), Some(bytes.len() - cluster(&[0x10, 0, 0, 9]).len()));
    }

    #[test]
    fn a_mark_at_the_very_end_is_no_mark_yet() {
        assert_eq!(first_cluster(&CLUSTER), None);
        assert_eq!(next_header(&HEADER, 0), None);
        assert_eq!(next_header(&[], 5), None);
    }
}
