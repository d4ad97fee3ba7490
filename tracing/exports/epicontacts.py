"""What R's epicontacts makes its object from: a line list with unique ids, and one row for each two people.

Source: `make_epicontacts` (https://github.com/reconhub/epicontacts/blob/master/R/make_epicontacts.R): the line list's
first column is the id and holds none twice; the contacts' first two columns are `from` and `to`.
"""

from typing import Final

READ_R: Final = """\
# Reads this folder into an epicontacts object: install.packages("epicontacts"), then source("read.R").
library(epicontacts)
linelist <- read.csv("linelist.csv", colClasses = c(id = "character"), na.strings = "", fileEncoding = "UTF-8")
contacts <- read.csv("contacts.csv", colClasses = c(from = "character", to = "character"), na.strings = "",
                     fileEncoding = "UTF-8")
for (time in c("first", "last")) {
  linelist[[time]] <- as.POSIXct(linelist[[paste0(time, "_ms")]] / 1000, origin = "1970-01-01", tz = "Asia/Ho_Chi_Minh")
  contacts[[time]] <- as.POSIXct(contacts[[paste0(time, "_ms")]] / 1000, origin = "1970-01-01", tz = "Asia/Ho_Chi_Minh")
}
x <- make_epicontacts(linelist, contacts, id = "id", from = "from", to = "to", directed = TRUE)
"""
