/** Files in a ZIP archive, as they are: pictures are compressed already. */

const TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});
const JANUARY_1980 = 0x21; // the earliest date that the format knows

/**
 * @param {Map<string, string | Uint8Array>} files By name.
 * @returns {Uint8Array[]} Pieces of the archive, in order.
 */
export function zip(files) {
  const pieces = [];
  const directory = [];
  const encoder = new TextEncoder();
  let at = 0;
  for (const [title, content] of files) {
    const name = encoder.encode(title);
    const data = typeof content === "string" ? encoder.encode(content) : content;
    // version, names are UTF-8, stored, time, date, checksum, both sizes, length of the name, nothing extra
    const told = [...u16(20, 0x800, 0, 0, JANUARY_1980), ...u32(checksum(data), data.length, data.length)];
    told.push(...u16(name.length, 0));
    const head = Uint8Array.of(...u32(0x04034b50), ...told);
    pieces.push(head, name, data);
    directory.push(Uint8Array.of(...u32(0x02014b50), ...u16(20), ...told, ...u16(0, 0, 0), ...u32(0, at)), name);
    at += head.length + name.length + data.length;
  }
  const length = directory.reduce((sum, piece) => sum + piece.length, 0);
  const end = Uint8Array.of(...u32(0x06054b50), ...u16(0, 0, files.size, files.size), ...u32(length, at), ...u16(0));
  return [...pieces, ...directory, end];
}

function checksum(data) {
  let sum = ~0;
  for (const byte of data) sum = TABLE[(sum ^ byte) & 255] ^ (sum >>> 8);
  return ~sum >>> 0;
}

const u16 = (...values) => values.flatMap((value) => [value & 255, (value >>> 8) & 255]);
const u32 = (...values) => values.flatMap((value) => [...u16(value), ...u16(value >>> 16)]);
