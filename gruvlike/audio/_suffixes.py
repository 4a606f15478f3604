"""The suffixes of files that hold sound, by who reads them."""

SNDFILE = (
    *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus"),
    *(".mp3", ".mp2", ".mp1", ".mpga", ".mpa", ".m1a", ".m2a", ".aif", ".aiff", ".aifc", ".afc", ".au", ".snd", ".caf"),
    *(".sph", ".nist", ".voc", ".paf", ".fap", ".svx", ".8svx", ".sf", ".ircam", ".pvf", ".avr", ".wve"),
)
AV = (
    *(".m4a", ".m4b", ".m4r", ".m4p", ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3gpp", ".3g2", ".f4a", ".f4b", ".f4v"),
    *(".aac", ".adts", ".latm", ".loas", ".wma", ".asf", ".wmv", ".xwma", ".webm", ".weba", ".mka", ".mkv"),
    *(".ac3", ".eac3", ".ec3", ".dtshd", ".thd", ".truehd", ".mlp", ".ape", ".wv", ".tta", ".tak"),
    *(".mpc", ".mp+", ".mpp", ".shn", ".dsf", ".dff", ".amr", ".awb", ".spx", ".ogv", ".ogx", ".ogm", ".qcp"),
    *(".ra", ".rm", ".rmvb", ".oma", ".aa3", ".vqf", ".qoa", ".rka", ".osq", ".hca", ".adx", ".brstm"),
    *(".avi", ".divx", ".flv", ".mpg", ".mpeg", ".vob", ".m2ts", ".nut", ".mxf", ".aa", ".aax"),
)
_HEADERLESS = "headerless samples: nobody can know their rate and format. Convert it to WAV"
_NOTES = "notes, not sound. Render it to WAV with a synthesizer"
UNREADABLE = {
    **dict.fromkeys((".raw", ".pcm", ".vox", ".sln", ".gsm", ".g722", ".g726", ".sd2"), _HEADERLESS),
    **dict.fromkeys((".mid", ".midi", ".kar", ".rmi"), _NOTES),
    **dict.fromkeys((".mod", ".xm", ".s3m", ".it", ".mptm", ".sid", ".nsf", ".spc", ".vgm"), _NOTES),
    **dict.fromkeys((".ofr", ".ofs", ".aaxc", ".rx2", ".rex"), "a format that no reader here knows"),
    ".cda": "a pointer to a track of a CD, not sound. Copy the CD",
}
