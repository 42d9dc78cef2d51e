//! Every kind of file, whole and broken, fed in pieces of every size.

use std::io::Write;

use super::*;

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd_frame(data: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(data, 1).unwrap()
}

/// Feeds `file` in pieces of `piece` bytes and takes what comes out in buffers of `room`.
fn inflate(file: &[u8], piece: usize, room: usize) -> Result<Vec<u8>, Corrupt> {
    let mut inflater = inflater_for(&file[..file.len().min(MAGIC_BYTES)])?;
    let (mut out, mut buffer, mut start) = (Vec::new(), vec![0; room], 0);
    let mut end = piece.min(file.len());
    loop {
        let progress = inflater.inflate(&file[start..end], &mut buffer)?;
        start += progress.consumed;
        out.extend_from_slice(&buffer[..progress.produced]);
        if progress.consumed + progress.produced == 0 {
            if end == file.len() {
                assert_eq!(start, end, "input is left over");
                return inflater.finish().map(|()| out);
            }
            end = (end + piece).min(file.len());
        }
    }
}

fn in_all_pieces(file: &[u8]) -> Result<Vec<u8>, Corrupt> {
    let whole = inflate(file, file.len().max(1), 1 << 16);
    for (piece, room) in [(1, 1), (1, 1 << 16), (7, 3), (file.len().max(1), 1)] {
        assert_eq!(inflate(file, piece, room), whole, "pieces of {piece} into {room}");
    }
    whole
}

fn sample() -> Vec<u8> {
    (0..400).flat_map(|n| format!("{{\"n\":{}}}\n", n * n % 977).into_bytes()).collect()
}

#[test]
fn plain_gzip_and_zstd_are_told_apart() {
    let data = sample();
    assert_eq!(in_all_pieces(&data).unwrap(), data);
    assert_eq!(in_all_pieces(&gzip(&data)).unwrap(), data);
    assert_eq!(in_all_pieces(&zstd_frame(&data)).unwrap(), data);
    assert_eq!(in_all_pieces(b"").unwrap(), b"");
    assert_eq!(in_all_pieces(&gzip(b"")).unwrap(), b"");
    assert_eq!(in_all_pieces(&[0x1f]).unwrap(), [0x1f]);
}

#[test]
fn all_members_and_frames_are_read() {
    let data = sample();
    let (first, second) = data.split_at(1000);
    let twice = [gzip(first), gzip(second)].concat();
    assert_eq!(in_all_pieces(&twice).unwrap(), data);
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9];
    let frames = [skippable.to_vec(), zstd_frame(first), zstd_frame(second)].concat();
    assert_eq!(in_all_pieces(&frames).unwrap(), data);
}

#[test]
fn zero_padding_after_a_member_is_ignored() {
    let data = sample();
    let padded = [gzip(&data), vec![0; 513]].concat();
    assert_eq!(in_all_pieces(&padded).unwrap(), data);
    let between = [gzip(&data), vec![0; 3], gzip(&data)].concat();
    assert_eq!(in_all_pieces(&between).unwrap(), [data.clone(), data].concat());
}

#[test]
fn anything_else_after_a_member_fails() {
    for tail in [&b"x"[..], b"\n", b"\0\0x", b"\x1f", b"\x1f\x8b", b"\x1fx", b"{\"a\":1}\n"] {
        let file = [gzip(&sample()), tail.to_vec()].concat();
        in_all_pieces_fail(&file);
    }
}

fn in_all_pieces_fail(file: &[u8]) {
    for (piece, room) in [(file.len(), 1 << 16), (1, 1 << 16), (3, 5)] {
        assert!(inflate(file, piece, room).is_err(), "pieces of {piece} into {room} were accepted");
    }
}

#[test]
fn a_file_cut_at_any_byte_fails() {
    let (gzip, zstd) = (gzip(b"{\"a\":1}\n{\"a\":2}\n"), zstd_frame(b"{\"a\":1}\n{\"a\":2}\n"));
    for cut in GZIP.len()..gzip.len() {
        assert!(inflate(&gzip[..cut], cut, 100).is_err(), "gzip cut at {cut}");
    }
    for cut in ZSTD.len()..zstd.len() {
        assert!(inflate(&zstd[..cut], cut, 100).is_err(), "zstd cut at {cut}");
    }
}

#[test]
fn a_wrong_checksum_or_length_fails() {
    let good = gzip(&sample());
    for back in 1..=8 {
        let mut bad = good.clone();
        let at = bad.len() - back;
        bad[at] ^= 1;
        in_all_pieces_fail(&bad);
    }
}

#[test]
fn a_bomb_runs_in_the_buffer_it_is_given() {
    let bomb = gzip(&vec![b'x'; 32 << 20]);
    assert!(bomb.len() * 900 < 32 << 20);
    let mut inflater = inflater_for(&bomb).unwrap();
    let (mut buffer, mut start, mut total) = (vec![0; 1 << 16], 0, 0);
    loop {
        let progress = inflater.inflate(&bomb[start..], &mut buffer).unwrap();
        start += progress.consumed;
        total += progress.produced;
        if progress.consumed + progress.produced == 0 {
            break;
        }
    }
    assert_eq!((start, total), (bomb.len(), 32 << 20));
    inflater.finish().unwrap();
}

/// What zlib makes of a file: members one after another, with zeros behind each.
fn zlib(mut file: &[u8]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    while !file.is_empty() || all.is_empty() {
        let (out, end) = zlib_member(file)?;
        all.push(out);
        let padding = file[end..].iter().take_while(|byte| **byte == 0).count();
        file = &file[end + padding..];
    }
    Some(all.concat())
}

/// What zlib makes of the member that a file begins with, and where that ends.
fn zlib_member(file: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut zlib = flate2::Decompress::new_gzip(15);
    let (mut out, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let (consumed, produced) = (zlib.total_in(), zlib.total_out());
        let rest = &file[usize::try_from(consumed).unwrap()..];
        let status = zlib.decompress(rest, &mut buffer, flate2::FlushDecompress::None).ok()?;
        let count = usize::try_from(zlib.total_out() - produced).unwrap();
        out.extend_from_slice(&buffer[..count]);
        if status == flate2::Status::StreamEnd {
            return Some((out, usize::try_from(zlib.total_in()).unwrap()));
        }
        if count == 0 && zlib.total_in() == consumed {
            return None;
        }
    }
}

/// Literals, runs and matches near and far, in any mixture.
fn mixture(rng: &mut fastrand::Rng, len: usize) -> Vec<u8> {
    let kinds = rng.u8(1..=255);
    let mut data: Vec<u8> = Vec::new();
    while data.len() < len {
        let count = rng.usize(1..300);
        match rng.u8(..4) {
            0 => data.extend((0..count).map(|_| rng.u8(..) % kinds)),
            1 => data.extend((0..count).map(|_| b'0' + rng.u8(..10))),
            2 => data.resize(data.len() + count, rng.u8(..)),
            _ if data.is_empty() => {}
            _ => {
                let distance = rng.usize(1..=data.len().min(40_000));
                (0..count).for_each(|_| data.push(data[data.len() - distance]));
            }
        }
    }
    data
}

#[test]
fn files_whole_and_broken_are_taken_as_zlib_takes_them() {
    let mut rng = fastrand::Rng::with_seed(1952);
    let (mut whole, mut broken) = (0, 0);
    for round in 0..300 {
        let len = rng.choice([0, 1, 10, 300, 5_000, 70_000]).unwrap();
        let data = mixture(&mut rng, len);
        let level = flate2::Compression::new(rng.u32(..10));
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
        encoder.write_all(&data).unwrap();
        let mut file = encoder.finish().unwrap();
        for _ in 0..round % 3 {
            let at = rng.usize(2..file.len());
            file[at] ^= 1 << rng.u8(..8);
        }
        let expected = zlib(&file);
        let (piece, room) = (rng.choice([100, 5_000, 1 << 17]).unwrap(), rng.choice([321, 40_000, 1 << 17]).unwrap());
        let found = inflate(&file, piece, room);
        assert_eq!(found.as_ref().ok(), expected.as_ref(), "round {round}: pieces of {piece} into {room}");
        if expected.is_some() { whole += 1 } else { broken += 1 }
    }
    assert!(whole > 100 && broken > 100, "{whole} whole, {broken} broken");
}

/// The files that fuzzing has kept for a target.
fn corpus(target: &str) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn what_fuzzing_kept_is_taken_as_zlib_takes_it() {
    let files = corpus("gzip");
    assert!(files.len() > 5);
    for (path, data) in files {
        let file = &data[2..];
        if file.starts_with(&GZIP) {
            let expected = zlib(file);
            for (piece, room) in [(1, 7), (50, 400), (file.len(), 1 << 16)] {
                assert_eq!(inflate(file, piece, room).ok(), expected, "{}", path.display());
            }
        }
    }
    for (path, data) in corpus("inflate") {
        // The bare streams as members; the trailer is that of what zlib makes of them.
        let mut out = vec![0; 1 << 20];
        let mut zlib = flate2::Decompress::new(false);
        let ended = zlib.decompress(&data[2..], &mut out, flate2::FlushDecompress::Finish);
        let whole = matches!(ended, Ok(flate2::Status::StreamEnd));
        out.truncate(usize::try_from(zlib.total_out()).unwrap());
        let stream = &data[2..][..usize::try_from(zlib.total_in()).unwrap()];
        let mut crc = flate2::Crc::new();
        crc.update(&out);
        let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        let file = [&head, stream, &crc.sum().to_le_bytes(), &crc.amount().to_le_bytes()].concat();
        for (piece, room) in [(1, 7), (50, 400), (file.len(), 1 << 16)] {
            let found = inflate(&file, piece, room);
            assert_eq!(found.as_ref().ok(), whole.then_some(&out), "{}", path.display());
        }
    }
}
