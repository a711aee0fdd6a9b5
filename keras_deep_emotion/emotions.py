"""The seven emotions, in the paper's order, and each data set's own names and codes for them.

The only place where a label is written down: builders read it from here, and from then on labels
travel with the data set, the run folder (`labels.txt`) and the export.
"""

EMOTIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")

# FER-2013's codes 0..6 (`emotion` column of fer2013.csv).
FER2013_CODES = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")

# Folder names of FER-2013's re-packaging as JPEG files.
FER2013_FOLDERS = {
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "neutral": "neutral",
    "sad": "sadness",
    "surprise": "surprise",
}

# FER+'s ten vote columns, in the order of label.csv. NF: not a face.
FERPLUS_VOTES = (
    "neutral", "happiness", "surprise", "sadness", "anger",
    "disgust", "fear", "contempt", "unknown", "NF",
)  # fmt: skip

# JAFFE: the two letters in a file's name, such as KA.AN1.39.tiff.
JAFFE_CODES = {
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}

# CK+: the number in an emotion file; 0 (neutral) never occurs in one.
CK_PLUS_CODES = (
    "neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise",
)  # fmt: skip

# CK+ as CK+48: names of its folders. `contempt` is outside the seven.
CK_PLUS_48_FOLDERS = {
    "anger": "anger",
    "contempt": "contempt",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "sadness": "sadness",
    "surprise": "surprise",
}

# CK+ as ckextended.csv: its codes 0..7.
CK_EXTENDED_CODES = (
    "anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral", "contempt",
)  # fmt: skip

# FERG: the second part of its folders' names, such as aia_joy.
FERG_FOLDERS = {
    "anger": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "joy": "happiness",
    "neutral": "neutral",
    "sadness": "sadness",
    "surprise": "surprise",
}

# What people call their folders; lower case.
SPELLINGS = {
    "anger": "anger",
    "angry": "anger",
    "disgust": "disgust",
    "disgusted": "disgust",
    "fear": "fear",
    "fearful": "fear",
    "afraid": "fear",
    "scared": "fear",
    "happiness": "happiness",
    "happy": "happiness",
    "joy": "happiness",
    "neutral": "neutral",
    "sadness": "sadness",
    "sad": "sadness",
    "surprise": "surprise",
    "surprised": "surprise",
}
